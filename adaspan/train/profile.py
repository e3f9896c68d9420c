"""Where the time of an update goes: a few of them under torch's profiler."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from adaspan.files import replacing

# Updates that are not profiled: the first ones allocate memory and choose kernels, and the profiler
# itself needs one to start.
_SETTLING, _STARTING = 4, 1
_WATCHED = 5
_ROWS = 15  # of the table
_NO_NOTES = "6"  # on stderr, of when the profiler begins and ends


@contextmanager
def profiled(
    device: torch.device, trace: Path, show: Callable[[str], None]
) -> Iterator[Callable[[], None]]:
    """Watch a few of the updates inside; the run computes the same, only these take longer.

    Args:
        device: where they are computed.
        trace: file for the timeline; for https://ui.perfetto.dev or chrome://tracing.
        show: gets a line of text at a time: a table of what took longest.

    Yields:
        To be called after each update.
    """

    def report(profiler: profile) -> None:
        _write_trace(profiler, trace)
        by = "self_cpu_time_total" if device.type == "cpu" else "self_device_time_total"
        table = profiler.key_averages().table(sort_by=by, row_limit=_ROWS, max_name_column_width=40)
        show(f"profile {trace} shows a few updates; where their time went")
        for line in table.strip().splitlines():
            show(line.rstrip())

    os.environ.setdefault("KINETO_LOG_LEVEL", _NO_NOTES)
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    watching = schedule(wait=_SETTLING, warmup=_STARTING, active=_WATCHED, repeat=1)
    with profile(activities=activities, schedule=watching, on_trace_ready=report) as profiler:
        yield profiler.step


def _write_trace(profiler: profile, path: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch, "trace.json")
        profiler.export_chrome_trace(str(plain))
        with (
            plain.open("rb") as content,
            replacing(path) as file,
            gzip.GzipFile(fileobj=file, mode="wb") as packed,
        ):
            shutil.copyfileobj(content, packed)
