"""The resolved configuration as a file of the run folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from adaspan.config.schema import KINDS, RunConfig


def to_yaml(run: RunConfig) -> str:
    """A YAML file that Hydra can compose by itself and that repeats the run.

    `python launch.py --config-path FOLDER --config-name config` takes it, and takes overrides as
    any other configuration does. What asked for a fresh start is not repeated.
    """
    values = dataclasses.asdict(run)
    values["train"]["restart"] = False
    kinds = [f"/_schema/{group}_{values[group]['kind']}@{group}" for group in KINDS]
    quiet: list[Any] = [{f"override hydra/{log}_logging": "none"} for log in ("job", "hydra")]
    defaults = ["/_schema/run", "/_schema/hydra_settings", *kinds, "_self_", *quiet]
    return OmegaConf.to_yaml({"defaults": defaults, **values})


def read_values(folder: Path) -> dict[str, Any]:
    """The values of a run folder's configuration, nested; empty if it has none yet."""
    path = folder / "config.yaml"
    if not path.exists():
        return {}
    loaded = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(loaded, dict)
    return {str(key): value for key, value in loaded.items() if key != "defaults"}
