"""One identity for a run: the same hash names its folder, its checkpoints and its W&B run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from adaspan.config.keys import OF_ONE_START, values_of
from adaspan.config.moved import name_in
from adaspan.config.resolved import read_config
from adaspan.config.schema import RunConfig
from adaspan.config.validate import NAME_LENGTH
from adaspan.runs.source import Source

# Of a start: the identity, and the digits of all that determines it but for the text.
_ID, _VALUES = "id", "values"
# Digits of the identity in a sweep's names.
_SHORT = 6

# What does not change the result. Anything else makes a different run.
NOT_IDENTITY = (
    "extensions",
    "tracking",
    "output_dir",
    "data_dir",
    "data.archive",
    "train.device",
    "train.log_every",
    "train.checkpoint_every",
    "train.graph",
    "train.profile",
    "train.extend",
    *OF_ONE_START,
)


def run_id(config: RunConfig) -> str:
    """Ten hexadecimal digits of the SHA-256 of everything that determines the result: of a text,
    its content, wherever it is.
    """
    content = config.data.content()
    if content is None:
        return _digits(_determining(config))
    values = _determining_less_places(config)
    values["data"]["content"] = content
    return _digits(values)


def run_name(config: RunConfig) -> str:
    """What a person recognises, then the identity: `stdlib-4x128-adaptive256-3f0c9a12de`.

    A run that was begun when a text was known by its path goes on under its name of then, and one
    whose text was called otherwise under that.
    """
    size = f"{config.model.layers}x{config.model.dim}"
    slug = f"{config.data.name}-{size}-{config.span.kind}{config.span.limit}"
    slug = re.sub(r"[^A-Za-z0-9._-]+", "_", slug)
    name, before = f"{slug}-{run_id(config)}", f"{slug}-{_digits_of_before(config)}"
    folder = Path(config.output_dir)
    if (folder / name).exists():
        return name
    if (folder / before).exists():
        return before
    identity = name.rpartition("-")[2]
    return next((path.parent.name for path in folder.glob(f"*-{identity}/config.yaml")), name)


def identity_record(path: Path, config: RunConfig) -> dict[str, str]:
    """What `source.json` has of the identity of the run in a folder, whatever that is called later.

    Args:
        path: of the folder.
        config: of the run.
    """
    values = _digits(_determining_less_places(config))
    return {_ID: id_of(path, config), _VALUES: values}


def id_of(path: Path, config: RunConfig) -> str:
    """The identity of the run in a folder, whose text may be elsewhere now.

    Args:
        path: of the folder.
        config: of the run.
    """
    return _known_id(path) or run_id(config)


def folder_of(config: RunConfig, begun: Path) -> Path:
    """Where the run is whose configuration was taken from a run folder.

    That one, wherever it lies and whatever it is called by now, unless the configuration was
    changed to be another run's or to be trained elsewhere.

    Args:
        config: of the run.
        begun: the run folder.
    """
    folder = Path(config.output_dir)
    name = name_in(folder, begun)
    if name and (_known_id(begun) == run_id(config) or _is_of(begun, config)):
        return folder / name
    return folder / run_name(config)


def _is_of(begun: Path, config: RunConfig) -> bool:
    """Whether a folder is a run's whose text had other places, or whose identity is not known."""
    own, source = read_config(begun), Source(begun / "source.json")
    values = _digits(_determining_less_places(own))
    known = source.own(_VALUES)
    is_edited = known != values if known else _known_id(begun) not in (None, _digits_of_before(own))
    return (
        not is_edited
        and _digits(_determining_less_places(config)) == values
        and config.data.content() in (None, [source.data_fingerprint()])
    )


def _known_id(path: Path) -> str | None:
    """The identity that is written in a run folder, or in its name, unless somebody renamed it."""
    digits = re.search(r"-([0-9a-f]{10})$", path.name)
    return Source(path / "source.json").own(_ID) or (digits[1] if digits else None)


def name_in_sweep(config: RunConfig, varies: str) -> str:
    """What a person tells the runs of a sweep apart by, then the beginning of the identity."""
    own = f" · {run_name(config).rpartition('-')[2][:_SHORT]}"
    return varies[: NAME_LENGTH - len(own)] + own


def tracked_name(name: str | None, identity: str) -> str | None:
    """`tracking.name`, unless it is another run's: a repetition begins with its configuration.

    Args:
        name: as it is configured.
        identity: of the run.
    """
    of_a_sweep = re.search(rf" · ([0-9a-f]{{{_SHORT}}})$", name or "")
    return None if of_a_sweep and not identity.startswith(of_a_sweep[1]) else name


def _determining(config: RunConfig) -> dict[str, Any]:
    """The keys and values that determine the result."""
    values = values_of(config)
    for key in NOT_IDENTITY:
        *parents, last = key.split(".")
        node = values
        for parent in parents:
            node = node[parent]
        node.pop(last, None)
    return values


def _determining_less_places(config: RunConfig) -> dict[str, Any]:
    """The same, wherever the text is."""
    values = _determining(config)
    for key in config.data.places:
        values["data"].pop(key, None)
    return values


def _digits_of_before(config: RunConfig) -> str:
    """The identity when a text was known by its path."""
    return _digits(_determining(dataclasses.replace(config, data=config.data.before())))


def _digits(values: dict[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]
