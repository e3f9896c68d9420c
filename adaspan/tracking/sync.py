"""Sends runs to W&B, several at a time, a process each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from adaspan.errors import RunError, UserError
from adaspan.tracking.account import signed_in

_AT_ONCE = 4


def send_all(
    runs: Sequence[Path], on_end: Callable[[Path, UserError | RunError | None], None]
) -> None:
    """Send what W&B lacks of runs. An interruption waits for those that are under way.

    Args:
        runs: their folders.
        on_end: called with each folder when it has ended: None, a `UserError` if the run is being
            trained now, or a `RunError` that says why W&B did not take it.

    Raises:
        UserError: nobody is signed in, or W&B does not answer.
    """
    with signed_in():
        pass
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        futures = {pool.submit(_send, run): run for run in runs}
        for future in as_completed(futures):
            on_end(futures[future], future.result())
    finally:
        pool.shutdown(cancel_futures=True)


def _send(run: Path) -> UserError | RunError | None:
    answer = subprocess.run(
        [sys.executable, "-m", "adaspan.tracking.send", str(run)],
        env={**os.environ, "WANDB_MODE": "online"},  # whatever it is for training
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,  # Ctrl-C is for us; it ends what it has begun
    )
    if answer.returncode == 0:
        return None
    stderr_line = (answer.stderr.splitlines() or ["no message"])[-1].removeprefix(
        "adaspan: error: "
    )
    return (
        UserError(stderr_line)
        if answer.returncode == UserError.exit_code
        else RunError(stderr_line)
    )
