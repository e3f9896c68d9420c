"""Runs that one process of the tests trains for all: each reads them, or changes a copy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.conftest import TINY
from tests.processes import train_here

SUMS = "".join(f"{i % 37} plus {i % 11} is {i % 37 + i % 11}\n" for i in range(300))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder of this name, filled by the first process that needs it while others wait.

    Args:
        factory: pytest's, of this process.
        name: of the folder, which no other fixture has.
        make: fills the folder, which is empty.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # of all processes
    folder, made = root / name, root / f"{name}.made"
    with FileLock(root / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


def finished_run(factory: pytest.TempPathFactory, name: str, *overrides: str) -> Path:
    """A finished run on lines of sums, in a folder `runs` beside its text and its prepared data.

    Args:
        factory: pytest's, of this process.
        name: of the folder in which all this is.
        overrides: what is not as in every tiny run.
    """

    def make(root: Path) -> None:
        (root / "sums.txt").write_text(SUMS)
        places = (f"data.path={root / 'sums.txt'}", f"data_dir={root / 'data'}")
        train_here(*TINY, "data=text", *places, f"output_dir={root / 'runs'}", *overrides)

    (folder,) = (made_once(factory, name, make) / "runs").iterdir()
    return folder
