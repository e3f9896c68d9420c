"""One identity for a run: the same hash names its folder, its checkpoints and its W&B run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from adaspan.config.schema import RunConfig, TextDataConfig

# What does not change the result. Anything else makes a different run.
_NOT_IDENTITY = (
    "tracking",
    "output_dir",
    "data_dir",
    "data.archive",
    "train.device",
    "train.log_every",
    "train.checkpoint_every",
    "train.restart",
)


def run_id(run: RunConfig) -> str:
    """Ten hexadecimal digits of the SHA-256 of everything that determines the result."""
    values: dict[str, Any] = dataclasses.asdict(run)
    for key in _NOT_IDENTITY:
        *parents, last = key.split(".")
        node = values
        for parent in parents:
            node = node[parent]
        node.pop(last, None)
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def run_name(run: RunConfig) -> str:
    """What a person recognises, then the identity: `stdlib-4x128-adaptive256-3f0c9a12de`."""
    data = run.data
    source = Path(data.path).stem if isinstance(data, TextDataConfig) else data.kind
    slug = f"{source}-{run.model.layers}x{run.model.dim}-{run.span.kind}{run.span.limit}"
    return re.sub(r"[^A-Za-z0-9._-]+", "_", slug) + "-" + run_id(run)
