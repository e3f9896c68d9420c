"""Every state of a run and every class of failure, once, with the words that reveal each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from adaspan.errors import (
    DiskError,
    LostPeerError,
    NoMemoryError,
    NonFiniteError,
    UserError,
)


class State(StrEnum):
    """What has become of a run."""

    WAITING = "waiting"  # not submitted yet, or not begun
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    RESUMABLE = "resumable"  # stopped, all saved
    CANCELLED = "cancelled"  # before it started
    LOST = "lost"  # ended without a message


# Not over yet.
UNDER_WAY = frozenset({State.QUEUED, State.RUNNING})


class FailureClass(StrEnum):
    """What a person would look at first."""

    CONFIGURATION = "configuration"
    DATA = "data"
    NON_FINITE = "non-finite"
    OUT_OF_MEMORY = "out of memory"
    DISK = "disk"
    NODE = "node"  # another try may succeed
    CODE = "code"
    TIME_OUT = "time-out"
    CANCELLED = "cancelled"


# SLURM's names for the ends that a run itself cannot write down.
SLURM_ENDS = {
    "TIMEOUT": FailureClass.TIME_OUT,
    "DEADLINE": FailureClass.TIME_OUT,
    "OUT_OF_MEMORY": FailureClass.OUT_OF_MEMORY,
    "NODE_FAIL": FailureClass.NODE,
    "BOOT_FAIL": FailureClass.NODE,
    "CANCELLED": FailureClass.CANCELLED,
}
# How the CPU, CUDA, cuBLAS and torch itself say that memory is full.
_NO_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "size calculation over")
# How SLURM says that it, or the kernel, killed a job for its memory; read by grep -E, too.
KILLED_FOR_MEMORY = "exceeded .*memory limit|oom.kill|: Out Of Memory"


@dataclass(frozen=True)
class Failure:
    """Why a run is not done."""

    kind: FailureClass
    message: str  # a line

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


def failure_of(error: Exception) -> Failure:
    """The failure that an error means, when it ends a run."""
    message = (str(error).strip().splitlines() or [type(error).__name__])[0]
    match error:
        case NonFiniteError():
            kind = FailureClass.NON_FINITE
        case NoMemoryError():
            kind = FailureClass.OUT_OF_MEMORY
        case OSError() | DiskError():
            kind = FailureClass.DISK
        case LostPeerError():
            kind = FailureClass.NODE
        case _:
            kind = FailureClass.CODE
    return Failure(kind, message)


def failure_of_exit(code: int, message: str) -> Failure:
    """The failure that the exit code of a training process and its last line mean."""
    if code == LostPeerError.exit_code:
        kind = FailureClass.NODE
    elif code == UserError.exit_code:
        about_data = message.startswith("data")
        kind = FailureClass.DATA if about_data else FailureClass.CONFIGURATION
    else:
        kind = FailureClass.CODE
    return Failure(kind, message)


def says_no_memory(error: Exception) -> bool:
    """Whether an error says that memory is full; libraries have many words for it."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)


def says_killed_for_memory(text: str) -> bool:
    """Whether what SLURM has printed of a job says so."""
    return re.search(KILLED_FOR_MEMORY, text) is not None
