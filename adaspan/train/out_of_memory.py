"""Out of memory, as one line with a way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from adaspan.errors import NoMemoryError
from adaspan.runs.failures import says_no_memory

LESS_FOR_THE_MODEL = "lower span.limit or model.*"
LESS_FOR_TRAINING = (
    "raise train.micro_batches (gradient accumulation: the same result in less memory) or lower "
    "train.batch_size; either is another run, from its start"
)


@contextmanager
def memory_errors_as_one_line(device: torch.device, way_out: str) -> Iterator[None]:
    """Turn every error that means out of memory into a `NoMemoryError`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not says_no_memory(error):
            raise
        message = str(error)
        on_gpu = (
            isinstance(error, torch.OutOfMemoryError) or "CUDA" in message or "CUBLAS" in message
        )
        wanted = re.search(r"ried to allocate ([\d.]+ \w+)", message)
        raise NoMemoryError(
            f"out of memory on {device if on_gpu else 'the CPU'}"
            f"{f' (tried to allocate {wanted[1]})' if wanted else ''}: {way_out}"
        ) from error
