"""The runs that a sweep command asks Hydra for: their overrides, and how these become
configurations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from adaspan.config.command_line import typed_words
from adaspan.config.hydra import to_run_config
from adaspan.config.keys import OF_ONE_START
from adaspan.config.mistakes import explained_errors
from adaspan.config.schema import RunConfig
from adaspan.config.typed import SWEEP_CHOICES, as_typed, said_once, written
from adaspan.errors import UserError

# These ask once, for all runs, and need no results.
_GRIDS = (".GridSweeper", ".BasicSweeper")


@dataclass(frozen=True)
class Search:
    """A sweep whose runs are chosen as it goes, from the results of those before."""

    sweeper: str  # the class that chooses
    identity: str  # the same for the same command
    fixed: frozenset[str]  # keys of its runs that are not searched
    path: Path  # folder for its results


@dataclass(frozen=True)
class Request:
    """The runs of a sweep, or those that a search wants next."""

    overrides: Sequence[Sequence[str]]  # of each run, as key=value
    compose: Callable[[Sequence[str]], RunConfig]  # raises UserError
    kind: str  # the sweep file, or what else names the sweep
    search: Search | None
    typed: Sequence[str] = ()  # the words of the command line; of a search none, which goes on


def grid(
    params: Mapping[str, str],
    paired: Sequence[Mapping[str, Any]],
    arguments: Sequence[str],
    loader: ConfigLoader,
) -> list[list[str]]:
    """The overrides of each run: every combination of values, times every point of paired values.

    Args:
        params: values to combine, `key: "a,b"`.
        paired: points, each a mapping of keys to values that belong together.
        arguments: of the command line, which add to `params` and override them.
        loader: Hydra's.

    Raises:
        UserError: a value that cannot be swept over.
    """
    given = [*as_typed([f"{key}={values}" for key, values in params.items()]), *arguments]
    choices: dict[str, list[str]] = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(given):
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif key == "sweeps" or not override.is_discrete_sweep():
            raise UserError(f"{override.input_line}: cannot be swept over; choose one value")
        else:
            choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
    points = [[f"{key}={written(value)}" for key, value in point.items()] for point in paired]
    return [[*point, *chosen] for point in points for chosen in product(*choices.values())]


def request_of(
    hydra_config: DictConfig, overrides: Sequence[Sequence[str]], loader: ConfigLoader
) -> Request:
    """What Hydra asks a launcher for.

    Args:
        hydra_config: of the sweep, Hydra's own part included.
        overrides: of each run.
        loader: Hydra's.
    """
    hydra = hydra_config.hydra

    def compose(job_overrides: Sequence[str]) -> RunConfig:
        with explained_errors():
            composed = loader.load_sweep_config(hydra_config, list(job_overrides))
            _require_one_launcher(hydra, composed.hydra)
            with open_dict(composed):
                del composed["hydra"]
            return to_run_config(composed)

    search = None
    if not hydra.sweeper._target_.endswith(_GRIDS):
        search = _search(hydra)
    kind = (hydra.runtime.choices.get("sweeps") or "multirun").replace("/", "-")
    return Request(overrides, compose, kind, search, () if search else typed_words())


def _search(hydra: DictConfig) -> Search:
    typed = list(map(said_once, hydra.overrides.task))
    words = [word for word in typed if word.partition("=")[0] not in OF_ONE_START]
    command = "\n".join(sorted(words))
    identity = hashlib.sha256(command.encode()).hexdigest()[:6]
    own = [f"{key}={values}" for key, values in (hydra.sweeper.get("params") or {}).items()]
    given = OverridesParser.create().parse_overrides([*own, *typed])
    swept = {override.get_key_element(): override.is_sweep_override() for override in given}
    fixed = frozenset(key for key, is_swept in swept.items() if not is_swept)
    return Search(hydra.sweeper._target_, identity, fixed, Path(hydra.sweep.dir))


def _require_one_launcher(of_sweep: DictConfig, of_run: DictConfig) -> None:
    """Refuse a run whose own files, such as an experiment that is swept over, say how it is to be
    launched: the sweep is launched as a whole.

    Raises:
        UserError: names what to say to the sweep instead.
    """
    for group in SWEEP_CHOICES:
        chosen, used = (of.runtime.choices.get(f"hydra/{group}") for of in (of_run, of_sweep))
        if chosen != used:
            raise UserError(
                f"hydra/{group}={chosen}: chosen by a file of this run, but the sweep has "
                f"hydra/{group}={used}; say it to the sweep: hydra/{group}={chosen}"
            )
        own, whole = (plain(of[group]) for of in (of_run, of_sweep))
        for key in own:
            if own[key] != whole.get(key):
                word = f"hydra.{group}.{key}={written(own[key])}"
                raise UserError(
                    f"{word}: set by a file of this run, but the sweep is launched as a whole; "
                    f"say it to the sweep: {word}"
                )


def plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Lists and dictionaries in place of OmegaConf's."""
    values: Any = OmegaConf.to_container(OmegaConf.create(settings))
    return values  # type: ignore[no-any-return]
