"""One identity for a run: the same hash names its folder, its checkpoints and its W&B run."""

from __future__ import annotations

import hashlib
import json
import re

from adaspan.config.keys import values_of
from adaspan.config.schema import RunConfig
from adaspan.config.validate import NAME_LENGTH

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
    "train.restart",
    "train.extend",
)


def run_id(config: RunConfig) -> str:
    """Ten hexadecimal digits of the SHA-256 of everything that determines the result."""
    values = values_of(config)
    for key in NOT_IDENTITY:
        *parents, last = key.split(".")
        node = values
        for parent in parents:
            node = node[parent]
        node.pop(last, None)
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def run_name(config: RunConfig) -> str:
    """What a person recognises, then the identity: `stdlib-4x128-adaptive256-3f0c9a12de`."""
    size = f"{config.model.layers}x{config.model.dim}"
    slug = f"{config.data.name}-{size}-{config.span.kind}{config.span.limit}"
    return re.sub(r"[^A-Za-z0-9._-]+", "_", slug) + "-" + run_id(config)


def name_in_sweep(config: RunConfig, varies: str) -> str:
    """What a person tells the runs of a sweep apart by, then the beginning of the identity."""
    own = f" · {run_id(config)[:_SHORT]}"
    return varies[: NAME_LENGTH - len(own)] + own


def tracked_name(config: RunConfig) -> str | None:
    """`tracking.name`, unless it is another run's: a repetition begins with its configuration."""
    name = config.tracking.name
    of_a_sweep = re.search(rf" · ([0-9a-f]{{{_SHORT}}})$", name or "")
    return None if of_a_sweep and not run_id(config).startswith(of_a_sweep[1]) else name
