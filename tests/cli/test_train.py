"""`adaspan train` is launch.py for whoever has installed adaspan."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adaspan import __version__
from adaspan.__main__ import main as module_main
from adaspan.cli import main
from tests.conftest import Launch, call, environment


def test_train_is_the_first_of_the_commands(tmp_path: Path) -> None:
    shown = call(main, "adaspan", "--help", folder=tmp_path)
    commands = shown.stdout.partition("Commands:\n")[2].splitlines()
    assert commands[0].split()[0] == "train"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "span.limt=3",
        "train.seed=1 -m train.seed=2,3",
        "--foo",
        "--config-path nowhere",
        "-m -c job",
    ],
)
def test_a_mistake_is_told_as_launch_tells_it(
    words: str, launch_here: Launch, tmp_path: Path
) -> None:
    ours = call(main, "adaspan", "train", *words.split(), folder=tmp_path)
    assert ours.returncode == 2
    assert len(ours.stderr.splitlines()) == 1
    assert ours.stderr == launch_here(*words.split()).stderr


def test_the_version_is_ours_however_it_is_asked(launch_here: Launch, tmp_path: Path) -> None:
    for words in (["--version"], ["train", "--version"]):
        shown = call(main, "adaspan", *words, folder=tmp_path)
        assert (shown.returncode, shown.stdout) == (0, f"adaspan, version {__version__}\n")
        assert launch_here("--version").stdout == shown.stdout


@pytest.mark.slow
def test_python_m_adaspan_takes_sub_commands_and_trains_without_one(tmp_path: Path) -> None:
    def typed(*words: str) -> str:
        end = call(module_main, "__main__.py", *words, folder=tmp_path)
        assert end.returncode == 2
        (line,) = end.stderr.splitlines()
        return line

    assert "runs: no runs here" in typed("status")
    assert "span.limit=0: must be at least 1" in typed("train", "span.limit=0")
    assert "span.limit=0: must be at least 1" in typed("span.limit=0")
    assert "model: cannot be read; write key=value" in typed("model")


@pytest.mark.slow
def test_what_hydra_shows_is_shown(launch_here: Launch, tmp_path: Path) -> None:
    for words in (["--help"], ["--cfg", "job", "model=small"]):
        ours = call(main, "adaspan", "train", *words, folder=tmp_path)
        assert (ours.returncode, ours.stdout) == (0, launch_here(*words).stdout)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]])
def test_help_is_shown_without_waiting_for_torch(words: list[str]) -> None:
    program = (
        "import sys\nfrom adaspan.cli import main\n"
        "try:\n    main()\nfinally:\n    print('imported', *sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program, *words], env=environment(), capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    modules = shown.stdout.rpartition("imported ")[2].split()
    assert "adaspan.cli.train" in modules
    assert "torch" not in modules
