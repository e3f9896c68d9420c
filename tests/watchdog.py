"""Ends whatever the tests have started and left behind, even if they were killed.

Every process that they start, however deep and whether or not it became a daemon, inherits a
variable of the environment. A watchdog outlives them: it waits until they end, then ends all that
has the variable.

    python tests/watchdog.py MARK     # until its standard input is closed
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_VARIABLE = "ADASPAN_TESTS"
_GRACE_SECONDS = 10.0


def start() -> Callable[[], None]:
    """Watch over all that this process starts from now on.

    Returns:
        To be called at the end; waits until everything has ended.
    """
    mark = os.environ[_VARIABLE] = uuid.uuid4().hex
    unmarked = {name: value for name, value in os.environ.items() if name != _VARIABLE}
    watchdog = subprocess.Popen(
        [sys.executable, "-IS", __file__, mark],
        env=unmarked,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is not for it
    )

    def end() -> None:
        watchdog.communicate()

    return end


def end_all(mark: str) -> None:
    """Ask everything that has the mark to end; after a while it has to."""
    deadline = time.monotonic() + _GRACE_SECONDS
    asked: set[int] = set()
    while found := set(_marked(mark)):
        is_late = time.monotonic() > deadline
        for process in found if is_late else found - asked:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL if is_late else signal.SIGTERM)
        asked |= found
        time.sleep(0.1)


def _marked(mark: str) -> Iterator[int]:
    entry = f"{_VARIABLE}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if entry in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)
        except OSError:  # somebody else's, or gone meanwhile
            continue


if __name__ == "__main__":
    sys.stdin.read()
    end_all(sys.argv[1])
