"""How the run of a folder is started: the command lines that train it, the threads of a process."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from adaspan.places import CODE, LAUNCH
from adaspan.runs.extensions import recorded_places
from adaspan.runs.folder import RunFolder

_THREADS = "OMP_NUM_THREADS"


def typed(path: Path, *overrides: str) -> str:
    """What a person types to go on with a run; with overrides, to train another one like it."""
    return typed_words([*_configuration(path), *overrides], path)


def typed_sweep(path: Path, *overrides: str) -> str:
    """What a person types to train several runs that differ from one in these values."""
    return typed_words(["-m", *_configuration(path), *overrides], path)


def typed_words(words: Sequence[str], path: Path) -> str:
    """What a person types in this folder to train what these words describe.

    Args:
        words: of the command line.
        path: of the folder of a run with the same extensions.
    """
    places = recorded_places(RunFolder(path).source.starts()).values()
    folders = dict.fromkeys(str(place.parent) for place in places if not _is_found(place))
    variables = [f"PYTHONPATH={shlex.quote(os.pathsep.join(folders))}"] if folders else []
    return " ".join([*variables, LAUNCH, shlex.join(words)]).strip()


def _is_found(module: Path) -> bool:
    """Whether an extension is imported from here as well, or not even from where it was."""
    folders = [Path.cwd(), CODE, *map(Path, sys.path)]
    is_here = any((folder / module.name).exists() for folder in folders)
    return is_here or not os.access(module, os.R_OK)


def started(path: Path, program: Path) -> list[str]:
    """What a sweep or a job starts.

    Args:
        path: of the run folder, which holds its configuration.
        program: of the code that is to train it; see `program_of`.
    """
    return [sys.executable, str(program), *_configuration(path)]


def program_of(code: Path) -> Path:
    """The program that trains with the package in this folder: launch.py, which somebody may have
    edited; an installed package has none.
    """
    launch = code / "launch.py"
    return launch if launch.exists() else code / "adaspan" / "__main__.py"


def sets_threads() -> bool:
    """Whether the user has set how many threads each process uses."""
    return _THREADS in os.environ


def threads(count: int | str) -> dict[str, str]:
    """Environment variables of a process with so many threads; none where the user set them."""
    return {} if sets_threads() else {_THREADS: str(count)}


def _configuration(path: Path) -> list[str]:
    return ["--config-path", str(path.resolve()), "--config-name", "config"]
