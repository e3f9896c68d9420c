"""`python -m adaspan key=value ...`: the same as `adaspan train` and `python launch.py`. With a
sub-command in front, such as `status` or `train`, the same as `adaspan`.

A sweep of an installed adaspan starts its runs by the path of this file: so they use the code
beside it, and no other adaspan that the current folder or the environment may have.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def main() -> None:
    """Train, or do what the first word names."""
    if sys.argv[1:] and sys.argv[1].isidentifier():
        with _ended_by_ctrl_c():
            from adaspan.cli import main as commands

        if sys.argv[1] in commands.commands:
            commands()
    with _ended_by_ctrl_c():
        from adaspan.launch import main as train

    train()


def command() -> None:
    """The command `adaspan`."""
    with _ended_by_ctrl_c():
        from adaspan.cli import main as commands

    commands()


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """End at once, as other programs do: Python would show a trace out of what is imported here."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, as in the background of a script
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    if not __package__ and not sys.flags.safe_path:
        sys.path[0] = str(Path(__file__).parents[1])  # in place of this file's folder
    main()
