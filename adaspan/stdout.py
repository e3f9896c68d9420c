"""Standard output that cannot be written: its reader has had enough, or the disk is full."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import TextIO


def is_unread() -> bool:
    """Whether nobody reads any more what stdout or stderr is given, as behind `| head`."""
    return any(map(_is_unread, (sys.stdout, sys.stderr)))


@contextmanager
def never_closed() -> Iterator[None]:
    """Write to nowhere where stdout was closed, as by `>&-`: Hydra takes it for open."""
    with ExitStack() as until_then:
        if sys.stdout is None:
            nowhere = until_then.enter_context(Path(os.devnull).open("w"))
            until_then.enter_context(redirect_stdout(nowhere))
        yield


def flush() -> None:
    """Write what was printed. Raises `OSError` as printing does."""
    if sys.stdout:  # closed: None
        sys.stdout.flush()


def discard() -> None:
    """Write nothing more, not even what is left, about which Python would complain at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _is_unread(stream: TextIO | None) -> bool:
    try:
        number = stream.fileno() if stream else -1
    except (OSError, ValueError):  # in memory
        return False
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return number >= 0 and any(event & select.POLLERR for _, event in poll.poll(0))
