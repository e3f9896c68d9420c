"""What rich prints to."""

from __future__ import annotations

import rich.console


class Console(rich.console.Console):
    """One that leaves it to `errors.py` to end a command whose output nobody reads."""

    def on_broken_pipe(self) -> None:
        """Raise it on: rich would end the program, with exit code 1."""
        raise
