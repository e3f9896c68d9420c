"""The public code of the paper, run from a checkout of one's own; no line of it is here.

git clone https://github.com/facebookresearch/adaptive-span DIR
"""

from __future__ import annotations

import importlib
import math
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def load(checkout: Path) -> Any:
    """Its module `models`."""
    sys.path.insert(0, str(checkout))
    return importlib.import_module("models")


def options(
    limit: int, ramp: int, persistent: int = 0, loss_coefficient: float = 0.0
) -> dict[str, Any]:
    """Arguments that its layers and its whole model share."""
    return {
        "attn_span": limit,
        "dropout": 0.0,
        "adapt_span_params": {
            "adapt_span_enabled": True,
            "adapt_span_loss": loss_coefficient,
            "adapt_span_ramp": ramp,
            "adapt_span_init": 0.0,
            "adapt_span_cache": True,
        },
        "pers_mem_params": {"pers_mem_size": persistent},
    }


def set_spans(attention: nn.Module, spans: Sequence[float], limit: int) -> None:
    """Give the heads of one of its attention layers these spans, in tokens."""
    learned: Any = attention
    fraction: Tensor = learned.attn.adaptive_span._mask.current_val
    with torch.no_grad():
        fraction.copy_(torch.tensor(spans).view_as(fraction) / limit)


def filled(name: str, shape: Sequence[int]) -> Tensor:
    """The same numbers for a tensor of this name everywhere, as if it had been trained."""
    count, phase = math.prod(shape), zlib.crc32(name.removeprefix("module.").encode()) % 1000
    wave = 0.3 * torch.sin(torch.arange(count, dtype=torch.float64) * 12.9898 + phase)
    if name.endswith("current_val"):  # spans are parts of the limit
        wave = 0.5 + 1.5 * wave
    if "norm" in name and name.endswith("weight"):
        wave = 1 + wave
    return wave.float().view(*shape)


def checkpoint(tensors: Mapping[str, Tensor], steps: Sequence[int]) -> dict[str, Any]:
    """What it saves, less the optimizer's state; names begin as its data parallelism has them."""
    return {
        "iter_no": len(steps) - 1,
        "model": {f"module.{name}": tensor for name, tensor in tensors.items()},
        "logger": {"step": list(steps), "train_bpc": [2.5] * len(steps)},
        "optimizer": {},
    }
