"""Every command of the README works as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from adaspan.cli import main
from adaspan.runs.identity import run_name
from tests.conftest import ROOT, Launch, call, compose_run
from tests.processes import train_here

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in (line.split("#")[0].strip() for line in block.splitlines())
    if line
]
AFTER_A_SWEEP = [line for line in COMMANDS if re.match("adaspan (report|sync)", line)]
OF_A_RUN = [line for line in COMMANDS if re.match("adaspan (generate|evaluate|export)", line)]
ON_A_CLUSTER = [
    line
    for line in COMMANDS
    if "=slurm" in line or (line.startswith("adaspan") and line not in [*AFTER_A_SWEEP, *OF_A_RUN])
]
LAUNCHES = [line for line in COMMANDS if "launch.py" in line and line not in ON_A_CLUSTER]
# The commands of AFTER_A_SWEEP look at its runs: tests/tracking/test_readme.py runs them all.
THE_SWEEP = "python launch.py sweeps=recall hydra.launcher.processes=2"

# Enough to see a command through to its end, in seconds.
SHORT = ("train.steps=2", "train.eval_fraction=0.01", "tracking=disabled")


def overrides_of(command: str) -> list[str]:
    return shlex.split(command.split("launch.py", 1)[1])


def is_sweep(command: str) -> bool:
    return " -m " in command or "sweeps=" in command


def test_the_readme_has_commands() -> None:
    assert COMMANDS[:2] == ["make train", "make test"]
    assert len(LAUNCHES) >= 7
    assert THE_SWEEP in LAUNCHES


def test_the_readme_shows_the_default_run() -> None:
    run = compose_run()
    assert f"runs/{run_name(run)}" in README
    assert f"{run.train.steps}/{run.train.steps} · valid" in README


@pytest.mark.slow
@pytest.mark.parametrize("command", LAUNCHES)
def test_every_launch_composes_into_a_valid_run(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    single = [
        o.split(",")[0] if is_sweep(command) else o for o in overrides_of(command) if o != "-m"
    ]
    assert compose_run(*single)


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in LAUNCHES if "enwik8" not in c and c != THE_SWEEP])
def test_every_launch_that_needs_no_download_runs(
    command: str, launch_here: Launch, tmp_path: Path
) -> None:
    # Short texts, since every run ends with an evaluation of a whole one.
    (tmp_path / "README.md").write_text(README[:4000])
    (tmp_path / "short.txt").write_text("to be or not to be, that is the question\n" * 60)
    own_text = [] if " data=" in command else ["data=text", "data.path=short.txt"]
    made = ["data.length=6000"] if "data=recall" in command else []
    fewer = ["span.limit=16"] if is_sweep(command) else []
    end = launch_here(
        *overrides_of(command),
        *own_text,
        *made,
        *SHORT,
        *fewer,
        f"data_dir={tmp_path}",
        "train.block_size=8",
    )
    assert end.returncode == 0, end.stderr
    shown = "waiting" if "dry_run" in command else "MACs" if is_sweep(command) else "FLOPs"
    assert shown in end.stdout


@pytest.mark.slow
def test_every_command_for_a_trained_run_works(tiny: tuple[str, ...], tmp_path: Path) -> None:
    shutil.copy(ROOT / "README.md", tmp_path)
    text = tmp_path / "stdlib.txt"  # which names the run as that of the README
    shutil.copy(ROOT / "README.md", text)
    train_here(*tiny, *SHORT, f"data.path={text}")
    for command in OF_A_RUN:
        end = call(main, *shlex.split(command), folder=tmp_path)
        assert (end.returncode, bool(end.stdout)) == (0, True), end.stderr
