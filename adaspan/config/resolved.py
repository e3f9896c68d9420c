"""The resolved configuration as a file of the run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from yaml import YAMLError

from adaspan.config.keys import without_added
from adaspan.config.kinds.data import DataConfig
from adaspan.config.kinds.optimizer import OptimizerConfig
from adaspan.config.kinds.registry import GROUPS, KINDS
from adaspan.config.kinds.span import SpanConfig
from adaspan.config.moved import places_now
from adaspan.config.schema import ModelConfig, RunConfig, TrackingConfig, TrainConfig
from adaspan.errors import RunError, UserError

_PLAIN: dict[str, type] = {
    "model": ModelConfig,
    "train": TrainConfig,
    "tracking": TrackingConfig,
}


def to_yaml(config: RunConfig, *, for_one_start: bool = False) -> str:
    """A YAML file that Hydra can compose by itself and that repeats the run.

    `python launch.py --config-path FOLDER --config-name config` takes it, and takes overrides as
    any other configuration does. `train.restart=true` is not repeated.

    Args:
        config: of the run.
        for_one_start: keep `train.accept_other_code=true`, which the start itself then takes out.
    """
    values = dataclasses.asdict(config)
    values["train"]["restart"] = False
    values["train"]["accept_other_code"] &= for_one_start
    # Whatever folder the file is read from, and wherever a job starts.
    values["output_dir"] = str(Path(config.output_dir).absolute())
    values["data_dir"] = str(Path(config.data_dir).absolute())
    kinds = [f"/_schema/{group}_{values[group]['kind']}@{group}" for group in GROUPS]
    quiet: list[Any] = [{f"override hydra/{log}_logging": "none"} for log in ("job", "hydra")]
    defaults = ["/_schema/run", "/_schema/hydra_settings", *kinds, "_self_", *quiet]
    return OmegaConf.to_yaml({"defaults": defaults, **values})


def has_places_of(config: RunConfig, values: Mapping[str, Any]) -> bool:
    """Whether a configuration was written with the same places of data.

    Args:
        config: of a run.
        values: as they were written, nested; empty if they are lost.
    """
    own, before = dataclasses.asdict(config.data), values.get("data", {})
    is_data_dir = str(Path(config.data_dir).absolute()) == values.get("data_dir")
    return is_data_dir and all(before.get(key) == own[key] for key in config.data.places)


def read_values(path: Path) -> dict[str, Any]:
    """The values of a run folder's configuration, nested; empty if it has none yet.

    Raises:
        RunError: it is damaged.
    """
    file = path / "config.yaml"
    if not file.exists():
        return {}
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(file))
    except (YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{file}: damaged ({reason})") from None
    if not isinstance(loaded, dict):
        raise RunError(f"{file}: damaged (must hold keys and values)")
    return {str(key): value for key, value in loaded.items() if key != "defaults"}


def read_chosen(path: Path) -> dict[str, Any]:
    """`read_values` less keys that came later and are at their defaults: nobody asked for those.

    Raises as `read_values` does.
    """
    values = read_values(path)
    for part, own in values.items():
        kind = KINDS[part].get(own["kind"]) if part in GROUPS else _PLAIN.get(part)
        if kind is not None:
            values[part] = without_added(own, kind)
    return values


def read_config(path: Path) -> RunConfig:
    """The configuration of a run folder that has one, with the places where things are now.

    A kind that is not registered in this process keeps its values, but builds nothing.

    Raises:
        UserError: a kind that is registered had other keys when the run was begun.
        RunError: it is damaged, or has keys that are not known.
    """
    values = read_values(path)
    try:
        typed: dict[str, Any] = {key: part(**values[key]) for key, part in _PLAIN.items()}
        values |= places_now(path, values)
        kinds = {group: _of_kind(group, values[group]) for group in GROUPS}
        return RunConfig(**values | typed | kinds)
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{path / 'config.yaml'}: was not written by this version ({error})"
        ) from None


def _of_kind(group: str, values: Mapping[str, Any]) -> Any:
    own = {key: value for key, value in values.items() if key != "kind"}
    known = KINDS[group].get(values["kind"])
    kind = known or _unknown_kind(group, values["kind"], own)
    for key in own.keys() - {field.name for field in dataclasses.fields(kind)}:
        raise UserError(
            f"{group}.{key}: config.yaml has this key, but this version of {kind.__name__} does "
            "not; use the version that trained it"
        )
    return kind(**own)


def _unknown_kind(group: str, name: str, keys: Iterable[str]) -> type:
    bases: dict[str, type] = {"span": SpanConfig, "data": DataConfig, "optimizer": OptimizerConfig}
    return dataclasses.make_dataclass(
        name,
        [(key, Any, dataclasses.field(default=None)) for key in keys],
        bases=(bases[group],),
        namespace={"kind": name},
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted keys; the kind of a group under the group's own name."""
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flattened |= flat(value, f"{prefix}{key}.")
        elif key == "kind":
            flattened[prefix.removesuffix(".")] = value  # span: fixed
        else:
            flattened[f"{prefix}{key}"] = value
    return flattened
