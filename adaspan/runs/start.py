"""The command lines that train the run of a folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from adaspan.places import LAUNCH


def typed(folder: Path, *overrides: str) -> str:
    """What a person types to go on with a run; with overrides, to train another one like it."""
    return f"{LAUNCH} {shlex.join([*_configuration(folder), *overrides])}"


def started(folder: Path, program: Path) -> list[str]:
    """What a sweep or a job starts.

    Args:
        folder: of the run, which holds its configuration.
        program: of the code that is to train it; see `program_of`.
    """
    return [sys.executable, str(program), *_configuration(folder)]


def program_of(code: Path) -> Path:
    """The program that trains with the package in this folder."""
    program = code / "adaspan" / "__main__.py"
    return program if program.exists() else code / "launch.py"  # frozen by an earlier version


def _configuration(folder: Path) -> list[str]:
    return ["--config-path", str(folder.resolve()), "--config-name", "config"]
