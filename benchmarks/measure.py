"""Measure contenders side by side: time, peak memory and counted FLOPs of the same work.

These machines are noisy. So contenders take turns, minima and medians are given, and what counts
is the ratio of two contenders of one case.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

# glibc gives freed memory back to the system and pays for every page of it again; with these it
# keeps what it has. Read by malloc when a process starts.
TUNED_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296"}


@dataclass(frozen=True)
class Result:
    """What one contender took for one case."""

    case: str
    contender: str
    malloc: str
    seconds_min: float
    seconds_median: float
    memory_mib: float  # most that was held beyond weights, their gradients and the caches
    gflop: float


def measure(
    case: str,
    contenders: Mapping[str, Callable[[], object]],
    device: torch.device,
    repeats: int,
) -> list[Result]:
    """Let the contenders take turns at one case. Each call is a whole forward and backward."""
    flops, memory = {}, {}
    for name, work in contenders.items():
        with FlopCounterMode(display=False) as counter:
            work()
        flops[name] = counter.get_total_flops() / 1e9
        memory[name] = min(_peak_memory_mib(work, device) for _ in range(2))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, work in contenders.items():
            _wait(device)
            start = time.perf_counter()
            work()
            _wait(device)
            times[name].append(time.perf_counter() - start)
    malloc = "tuned" if TUNED_MALLOC.items() <= os.environ.items() else "default"
    return [
        Result(
            case,
            name,
            malloc,
            min(times[name]),
            statistics.median(times[name]),
            memory[name],
            flops[name],
        )
        for name in contenders
    ]


def again_with_tuned_malloc(device: torch.device) -> list[Result]:
    """The same command in a process of its own, malloc tuned; nothing if this is that process, or
    if a GPU computes.
    """
    if (
        device.type != "cpu"
        or TUNED_MALLOC.items() <= os.environ.items()
        or sys.platform != "linux"
    ):
        return []
    answer = subprocess.run(
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, **TUNED_MALLOC},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    last_line = answer.stdout.splitlines()[-1]
    return [Result(**result) for result in json.loads(last_line)["results"]]


def show(title: str, results: Sequence[Result], device: torch.device) -> None:
    """A table with every ratio to the first contender of the case, and one line of JSON."""
    table = Table(title=title)
    table.add_column("case")
    table.add_column("malloc")
    table.add_column("contender")
    for column in ("min ms", "median ms", "MiB", "GFLOP", "time", "memory"):
        table.add_column(column, justify="right")
    ours: Result | None = None
    for result in results:
        if ours is None or (ours.case, ours.malloc) != (result.case, result.malloc):
            ours = result
            table.add_section()
        table.add_row(
            result.case,
            result.malloc,
            result.contender,
            f"{result.seconds_min * 1e3:.1f}",
            f"{result.seconds_median * 1e3:.1f}",
            f"{result.memory_mib:.0f}",
            f"{result.gflop:.2f}",
            f"{result.seconds_min / ours.seconds_min:.2f}x",
            f"{result.memory_mib / max(ours.memory_mib, 1):.2f}x",
        )
    Console(width=120).print(table)
    print(
        json.dumps(
            {
                "benchmark": Path(sys.argv[0]).stem,
                "device": str(device),
                "machine": platform.machine(),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "results": [asdict(result) for result in results],
            }
        )
    )


def _peak_memory_mib(work: Callable[[], object], device: torch.device) -> float:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    if sys.platform != "linux":
        return float("nan")
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    resident = _resident_mib("VmRSS")
    work()
    return _resident_mib("VmHWM") - resident


def _resident_mib(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
