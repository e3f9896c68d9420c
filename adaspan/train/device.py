"""Where a run computes, and in which precision."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn

from adaspan.errors import ProcessError

# Peak rates of matrix products in 10^12 FLOPs per second, as the makers state them, without
# sparsity: in bfloat16 and in float32 proper. The name's beginning, less the maker, longest first.
_PEAK_TFLOPS = {
    "B200": (2250.0, 75.0),
    "H200": (989.4, 66.9),
    "H100 PCIe": (756.0, 51.2),
    "H100 NVL": (835.0, 60.0),
    "H100": (989.4, 66.9),
    "A100": (312.0, 19.5),
    "L40S": (362.0, 91.6),
    "A40": (149.7, 37.4),
    "A10": (125.0, 31.2),
    "L4": (121.0, 30.3),
    "GeForce RTX 4090": (165.2, 82.6),
    "GeForce RTX 3090": (71.0, 35.6),
}


# Weights of a model from which on threads speed up the reading of a single token. With fewer they
# wait for one another, and on a busy machine for everybody else.
_SHARED_BY_THREADS = 10e6


def choose_device(name: str, local_rank: int) -> torch.device:
    """The device that `train.device` names; `auto` is this process's GPU, or the CPU.

    Raises:
        ProcessError: it is not there.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    have = ", ".join(["cpu", *(f"cuda:{i}" for i in range(gpus))])
    device = torch.device(name if name != "auto" else "cuda" if gpus else "cpu")
    if device.type == "cuda":
        index = local_rank if device.index is None else device.index
        if index >= gpus:
            raise ProcessError(
                f"train.device={name}: this machine has no cuda:{index}; available: {have}"
            )
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    return device


def device_name(device: torch.device) -> str:
    """The device, and what its maker calls it: `cuda:0 NVIDIA H200`."""
    return " ".join(filter(None, (str(device), gpu_name(device))))


def gpu_name(device: torch.device) -> str | None:
    """What its maker calls a GPU; None for a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def computing_on(device: torch.device) -> dict[str, str | None]:
    """All of a device on which the last bits of a result may depend, by name."""
    return {
        "device": str(device),
        "gpu": gpu_name(device),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "cpu": torch.backends.cpu.get_cpu_capability(),  # its vector instructions: AVX512
    }


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of matrix products; `auto` is bfloat16 where the GPU has it, else float32."""
    if name == "auto":
        has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(
            including_emulation=False
        )
        return torch.bfloat16 if has_bfloat16 else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def precision_name(precision: torch.dtype | str) -> str:
    """As one says it: `bfloat16`."""
    return str(precision).removeprefix("torch.")


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Matrix products in `precision`; everything that is kept stays float32."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy on the device that nothing waits for."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def peak_memory_gb(device: torch.device) -> float:
    """Most memory held so far, in 10^9 bytes: the GPU's, or this process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def peak_flops(device: torch.device, precision: torch.dtype) -> float | None:
    """FLOPs per second that the device reaches at most; None where that is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device).removeprefix("NVIDIA ")
    for beginning, (bfloat16, float32) in _PEAK_TFLOPS.items():
        if name == beginning or name.startswith((f"{beginning} ", f"{beginning}-")):
            return 1e12 * (bfloat16 if precision == torch.bfloat16 else float32)
    return None


@contextmanager
def threads_for_one_token(model: nn.Module) -> Iterator[None]:
    """As many threads of the CPU, inside the block, as are of use where tokens are read alone."""
    before = torch.get_num_threads()
    if sum(parameter.numel() for parameter in model.parameters()) < _SHARED_BY_THREADS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
