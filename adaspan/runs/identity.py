"""One identity for a run: the same hash names its folder, its checkpoints and its W&B run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from adaspan.config.keys import values_of
from adaspan.config.schema import RunConfig
from adaspan.config.validate import NAME_LENGTH

# Digits of the identity in a sweep's names.
_SHORT = 6

# What holds for one start.
OF_ONE_START = ("train.restart", "train.accept_other_code")
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
    values = _determining(config)
    content = config.data.content()
    if content is not None:
        for key in config.data.places:
            values["data"].pop(key, None)
        values["data"]["content"] = content
    return _digits(values)


def run_name(config: RunConfig) -> str:
    """What a person recognises, then the identity: `stdlib-4x128-adaptive256-3f0c9a12de`.

    A run that was begun when a text was known by its path goes on under its name of then.
    """
    size = f"{config.model.layers}x{config.model.dim}"
    slug = f"{config.data.name}-{size}-{config.span.kind}{config.span.limit}"
    slug = re.sub(r"[^A-Za-z0-9._-]+", "_", slug)
    as_before = dataclasses.replace(config, data=config.data.before())
    name, before = f"{slug}-{run_id(config)}", f"{slug}-{_digits(_determining(as_before))}"
    folder = Path(config.output_dir)
    return before if not (folder / name).exists() and (folder / before).exists() else name


def id_of(path: Path, config: RunConfig) -> str:
    """The identity of the run in a folder, whose text may be elsewhere now.

    Args:
        path: of the folder, which has it in its name unless somebody renamed it.
        config: of the run.
    """
    digits = re.search(r"-([0-9a-f]{10})$", path.name)
    return digits[1] if digits else run_id(config)


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


def _digits(values: dict[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]
