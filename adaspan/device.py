"""Where a run computes, and in which precision."""

from __future__ import annotations

import resource
import sys
from contextlib import AbstractContextManager

import torch

from adaspan.errors import ProcessError


def choose_device(name: str, local_rank: int) -> torch.device:
    """The device that `train.device` names; `auto` is this process's GPU, or the CPU.

    Raises:
        ProcessError: it is not there.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    have = ", ".join(["cpu", *(f"cuda:{i}" for i in range(gpus))])
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        index = local_rank if device.index is None else device.index
        if index >= gpus:
            raise ProcessError(f"train.device={name}: not there (cuda:{index}); here are {have}")
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of matrix products; `auto` is bfloat16 where the GPU has it, else float32."""
    if name == "auto":
        has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_bfloat16 else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Matrix products in `precision`; everything that is kept stays float32."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def peak_memory_gb(device: torch.device) -> float:
    """Most memory held so far, in 10^9 bytes: the GPU's, or this process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
