"""How Hydra finds the group `sweeps`, whose folder stands beside conf/ and not in it.

The folder that holds both cannot be a search path: Hydra walks through all that is in one.
"""

from __future__ import annotations

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from adaspan.places import CONF, DEFAULTS, SWEEPS

_Names = list[str]


class OurSearchPath(SearchPathPlugin):
    """Has Hydra look into conf/, also where the configuration is a run folder's or one's own, and
    into `SweepFiles`.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if all(_folder(element.path) != CONF for element in search_path.get_path()):
            search_path.append("adaspan", f"file://{CONF}")
        search_path.append("adaspan", f"{SweepFiles.scheme()}://{SWEEPS}")


class SweepFiles(ConfigSource):
    """The files of sweeps/, by paths such as `sweeps/span_limit`, and nothing else."""

    @staticmethod
    def scheme() -> str:
        return "sweeps"

    def available(self) -> bool:
        return SWEEPS.is_dir()

    def load_config(self, config_path: str) -> ConfigResult:
        file = DEFAULTS / self._normalize_file_name(config_path)
        header = self._get_header_dict(file.read_text(encoding="utf-8"))
        return ConfigResult(self.provider, self.full_path(), OmegaConf.load(file), header)

    def is_group(self, config_path: str) -> bool:
        return not config_path or (_is_ours(config_path) and (DEFAULTS / config_path).is_dir())

    def is_config(self, config_path: str) -> bool:
        file = DEFAULTS / self._normalize_file_name(config_path)
        return _is_ours(config_path) and file.is_file()

    def list(self, config_path: str, results_filter: ObjectType | None) -> _Names:
        paths = (DEFAULTS / config_path).iterdir() if config_path else [SWEEPS]
        names: _Names = []
        for path in paths:
            inside = path.relative_to(DEFAULTS).as_posix()
            self._list_add_result(names, inside, path.name, results_filter)
        return sorted(names)


def _folder(path: str) -> Path:
    return Path(path.removeprefix("file://"))


def _is_ours(config_path: str) -> bool:
    return config_path.partition("/")[0] == SWEEPS.name
