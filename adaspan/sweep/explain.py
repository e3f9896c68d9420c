"""What a run is: the command that makes it, and what is special about it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adaspan.config.compose import default_values
from adaspan.config.frozen import read_values
from adaspan.config.schema import KINDS

_PLAIN = re.compile(r"[\w./:~+-]+")  # what Hydra reads without quotes
# Where a run was trained, and how often it was looked at: not what it is.
_INCIDENTAL = ("data_dir", "output_dir", "train.restart")


def command(folder: Path, conf: Path) -> str:
    """The command line that gives exactly this run's configuration.

    Args:
        folder: of the run.
        conf: of the defaults.
    """
    own = read_values(folder)
    default = default_values(conf, [])
    kinds = [
        f"{group}={own[group]['kind']}"
        for group in KINDS
        if own[group]["kind"] != default[group]["kind"]
    ]
    base = _flat(default_values(conf, kinds))
    values = [
        f"{key}={_written(value)}" for key, value in _flat(own).items() if base.get(key) != value
    ]
    return shlex.join(["python", "launch.py", *kinds, *values])


def against_default(folder: Path, conf: Path) -> list[str]:
    """`key: this, not that`, for every key in which the run differs from the default one."""
    default = _flat(default_values(conf, []))
    return [
        f"{key}: {_written(value)}" + (f", not {_written(default[key])}" if key in default else "")
        for key, value in _flat(read_values(folder)).items()
        if key not in default or default[key] != value
    ]


def against_siblings(folder: Path, siblings: Sequence[Path]) -> list[str]:
    """`key: this, others that and that`, for every key in which a sibling differs from the run."""
    own = _flat(read_values(folder))
    others = [_flat(read_values(sibling)) for sibling in siblings if sibling != folder]
    lines = []
    for key, value in own.items():
        differing = dict.fromkeys(
            _written(other[key]) for other in others if key in other and other[key] != value
        )
        if differing:
            lines.append(f"{key}: {_written(value)}, others {', '.join(differing)}")
    return lines


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys, without what does not say what a run is."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        full_key = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= _flat(value, f"{full_key}.")
        elif key == "kind":
            found[prefix.removesuffix(".")] = value  # span: fixed
        elif full_key not in _INCIDENTAL:
            found[full_key] = value
    return found


def _written(value: object) -> str:
    """As Hydra reads it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        quoted = value.replace("'", "\\'")
        return f"'{quoted}'"
    return str(value)
