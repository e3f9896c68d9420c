"""TERM, INT and USR2 ask a run to save at its next step and leave."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class StopRequest:
    """Which signal asked to stop, if any did."""

    def __init__(self) -> None:
        self.signal = 0
        self._pid = os.getpid()

    def leave_unread(self) -> None:
        """Ask to leave because nobody reads what is printed. SIGPIPE itself, which is ignored,
        might be about any other pipe.
        """
        self.signal = self.signal or signal.SIGPIPE

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked child inherits the handler, but has nothing to save
            return
        if self.signal and number == signal.SIGINT:  # a second Ctrl-C ends it at once
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Listen for the signals inside the block."""
    request = StopRequest()
    before = {number: signal.signal(number, request._receive) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
