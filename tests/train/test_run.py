"""Whole runs, started as a user starts them: new, done already, repeated, refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adaspan.errors import UserError
from tests.conftest import ROOT, Launch, environment
from tests.processes import (
    FindFolder,
    kill,
    rows,
    start,
    train_here,
    wait_for_step,
)


@pytest.mark.slow
def test_what_asked_for_a_fresh_start_is_not_repeated(
    tiny: tuple[str, ...], run_folder: FindFolder
) -> None:
    train_here(*tiny, "train.restart=true")
    assert "restart: false" in (run_folder() / "config.yaml").read_text()


@pytest.mark.slow
def test_a_finished_run_says_so_and_restart_starts_over(
    tiny: tuple[str, ...], run_folder: FindFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(*tiny)
    before = rows(run_folder())
    capsys.readouterr()
    train_here(*tiny)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("done already: ")
    assert "train.restart=true" in line
    train_here(*tiny, "train.restart=true")
    assert "going on" not in capsys.readouterr().out
    assert rows(run_folder()) == before


@pytest.mark.slow
def test_the_run_folder_repeats_the_run(
    tiny: tuple[str, ...], launch_here: Launch, tmp_path: Path, run_folder: FindFolder
) -> None:
    train_here(*tiny)
    folder = run_folder()
    frozen = ("--config-path", str(folder), "--config-name", "config")
    assert launch_here(*frozen).stdout.startswith("done already: ")
    again = launch_here(*frozen, f"output_dir={tmp_path / 'again'}")
    assert again.returncode == 0, again.stderr
    (repeated,) = (tmp_path / "again").iterdir()
    assert repeated.name == folder.name
    assert rows(repeated) == rows(folder)


@pytest.mark.slow
def test_data_that_changed_since_are_refused(tiny: tuple[str, ...], text: Path) -> None:
    train_here(*tiny)
    text.write_text("quite another text, " * 200)
    with pytest.raises(UserError, match="begun on other data") as error:
        train_here(*tiny)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_same_run_cannot_be_trained_twice_at_once(
    tiny: tuple[str, ...], launch_here: Launch, tmp_path: Path, run_folder: FindFolder
) -> None:
    process = start(tmp_path, *tiny, "train.steps=2000")
    wait_for_step(tmp_path, 6, process)
    second = launch_here(*tiny, "train.steps=2000")
    kill(process)
    assert second.returncode == 2
    assert "another process is training this run" in second.stderr


def imported(*arguments: str) -> set[str]:
    """What `python launch.py ARGUMENTS` imports."""
    program = f"""
import runpy, sys
sys.argv[1:] = {list(arguments)}
try:
    runpy.run_path({str(ROOT / "launch.py")!r}, run_name="__main__")
finally:
    print("imported", *sys.modules)
"""
    end = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True
    )
    assert end.returncode == 0, end.stderr
    return set(end.stdout.rpartition("imported ")[2].split())


@pytest.mark.slow
def test_a_run_starts_without_importing_what_it_does_not_use(tiny: tuple[str, ...]) -> None:
    """Torch's compiler alone would be a third of the time until the first step."""
    unused = {"torch._dynamo", "torch.distributed.tensor", "wandb", "optuna", "submitit"}
    assert not unused & imported(*tiny, "train.steps=20")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_a_sweep_is_looked_at_without_waiting_for_torch(
    tiny: tuple[str, ...], launcher: str
) -> None:
    """More than half of the time until a preview of a few runs, or a typo in them, is seen."""
    sweep = ("-m", "train.seed=1,2", f"hydra/launcher={launcher}", "hydra.launcher.dry_run=true")
    assert "torch" not in imported(*sweep, *tiny)
