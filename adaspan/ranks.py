"""Which of several processes this one is, from the variables that torchrun sets.

They count only where all are there: RANK=1 that a shell was left with makes no second process.
"""

from __future__ import annotations

import os

_RANKS = ("RANK", "WORLD_SIZE")
_MEETING = ("MASTER_ADDR", "MASTER_PORT")
_PORTS = 2**16


def rank() -> int:
    """The number of this process among all that train the run together; 0 is the main one."""
    return _number("RANK") if world_size() > 1 else 0


def world_size() -> int:
    """How many processes train the run together."""
    return 1 if leftover() else max(1, _number("WORLD_SIZE"))


def local_rank() -> int:
    """Which of this machine's processes, and so which of its GPUs."""
    return _number("LOCAL_RANK") if world_size() > 1 else 0


def leftover() -> str | None:
    """A variable that asks for several processes where no launcher set the others, or that no
    launcher sets like this, as `NAME=value`; None if there is none.
    """
    there = [name for name in (*_RANKS, *_MEETING) if os.environ.get(name)]
    for name in _RANKS:
        value = os.environ.get(name, "")
        if value and not value.isdecimal():
            return f"{name}={value}"
        # RANK=0 and WORLD_SIZE=1 describe what a single process is anyway.
        if value and int(value) != _RANKS.index(name) and len(there) < len((*_RANKS, *_MEETING)):
            return f"{name}={value}"
    port, all_set = os.environ.get("MASTER_PORT", ""), len(there) == len((*_RANKS, *_MEETING))
    if all_set and _number("WORLD_SIZE") > 1:
        if _number("RANK") >= _number("WORLD_SIZE"):
            return f"RANK={os.environ['RANK']}"
        if not (port.isdecimal() and int(port) < _PORTS):
            return f"MASTER_PORT={port}"
    return None


def _number(name: str) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else 0
