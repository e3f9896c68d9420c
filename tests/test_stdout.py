"""Output that cannot be written ends a command with one line, or in silence if nobody reads it; so
does Ctrl-C, from the first moment on.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

import pytest

from adaspan.cli import main as adaspan
from adaspan.errors import DiskError
from adaspan.launch import main as launch
from tests.conftest import ROOT, environment
from tests.processes import status, train_here

COMMANDS = [
    (adaspan, "--help"),
    (adaspan, "--version"),
    (adaspan, "status"),
    (adaspan, "status", "--json"),
    (adaspan, "explain", "sums-1x8-adaptive16-a4b04d2d9d"),
    (adaspan, "report", "--format", "text"),
    (adaspan, "report", "--format", "csv"),
    (launch, "--version"),
    (launch, "--cfg", "job"),
    (launch, "-m", "train.seed=1,2", "hydra.launcher.dry_run=true"),
]
commands = pytest.mark.parametrize(
    "command",
    [*COMMANDS, pytest.param((launch, "--help"), marks=pytest.mark.slow)],
    ids=lambda command: "_".join(command[1:3]),
)
Command = tuple[Callable[[], object], *tuple[str, ...]]


@pytest.fixture
def full() -> Iterator[TextIO]:
    """A file on a full disk; what it still holds is thrown away in the end."""
    file = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    yield file
    throw_away(file)


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    file = os.fdopen(writing, "w")
    yield file
    throw_away(file)


def throw_away(file: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)
    file.close()


def end_of(
    command: Command, stdout: TextIO | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str]:
    """The exit code of a command, and what it says on stderr."""
    main, *words = command
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["launch.py", *words])
    code, stderr = 0, io.StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, stderr.getvalue()


@commands
def test_a_full_disk_is_one_line(
    command: Command, full: TextIO, runs_of_before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, stderr = end_of(command, full, runs_of_before.parent, monkeypatch)
    assert (code, stderr) == (1, "adaspan: error: stdout: No space left on device\n")


@commands
def test_a_reader_that_has_enough_ends_a_command_in_silence(
    command: Command, unread: TextIO, runs_of_before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, stderr = end_of(command, unread, runs_of_before.parent, monkeypatch)
    assert (code, stderr) == (128 + signal.SIGPIPE, "")


def test_training_that_nobody_watches_any_more_is_saved_and_left(
    tiny: tuple[str, ...], unread: TextIO, run_folder: Callable[[], Path]
) -> None:
    with redirect_stdout(unread), pytest.raises(SystemExit) as end:
        train_here(*tiny)
    assert end.value.code == 128 + signal.SIGPIPE
    left = status(run_folder())
    assert (left["state"], left["step"]) == ("resumable", 1)
    assert "stopped at step 1, all saved" in (run_folder() / "log.txt").read_text()


def test_a_full_disk_under_the_output_of_training_is_named(
    tiny: tuple[str, ...], full: TextIO, run_folder: Callable[[], Path]
) -> None:
    with redirect_stdout(full), pytest.raises(DiskError) as end:
        train_here(*tiny)
    assert str(end.value).startswith("stdout: No space left on device; what was saved is kept")
    assert status(run_folder())["error"] == "disk"


def test_a_closed_output_is_none_that_anything_is_said_of(
    runs_of_before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `>&-`."""
    for words in (("--cfg", "job"), ("--version",)):
        assert end_of((launch, *words), None, runs_of_before.parent, monkeypatch) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("start", ["main", "command"])
def test_ctrl_c_while_modules_are_imported_shows_no_trace(start: str) -> None:
    program = f"""
import os, signal, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name in ("hydra", "click"):
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
from adaspan.__main__ import {start}
{start}()
"""
    words = [sys.executable, "-c", program]
    end = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, timeout=60)
    assert (end.returncode, end.stdout, end.stderr) == (-signal.SIGINT, b"", b"")
