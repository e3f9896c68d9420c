"""`adaspan` on a machine without SLURM: what it shows of runs, and how it helps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adaspan.cli import main
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.slurm.job_record import RunJob, set_job
from tests.conftest import Launch, call
from tests.processes import of_other_code, train_here

Adaspan = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def adaspan(tmp_path: Path) -> Adaspan:
    """Runs `adaspan ARGUMENTS` where no SLURM is."""
    tools = tmp_path / "bin"
    tools.mkdir()
    tail = shutil.which("tail")
    assert tail
    (tools / "tail").symlink_to(tail)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return call(main, "adaspan", *arguments, folder=tmp_path, PATH=str(tools))

    return run


@pytest.fixture
def sweep(launch_here: Launch, tiny: tuple[str, ...]) -> None:
    """Two runs of a sweep, one of which fails."""
    assert launch_here("-m", *tiny, "train.steps=20", "optimizer.lr=0.01,1e30").returncode == 1


def run_at(tmp_path: Path, state: str) -> RunFolder:
    (found,) = (
        folder
        for folder in map(RunFolder, (tmp_path / "runs").iterdir())
        if folder.status().get("state") == state
    )
    return found


@pytest.mark.slow
def test_what_is_known_of_local_runs_is_shown(
    adaspan: Adaspan, sweep: None, tmp_path: Path
) -> None:
    shown = adaspan("status")
    assert shown.returncode == 1, "one has failed"
    assert "non-finite: step" in shown.stdout
    assert "1 done" in shown.stdout
    watched = adaspan("status", "--watch")
    assert (watched.returncode, "non-finite: step" in watched.stdout) == (1, True), "all has ended"
    (name,) = (path.name for path in (tmp_path / "runs" / "sweeps").iterdir() if path.is_dir())
    of_sweep = json.loads(adaspan("status", name, "--json").stdout)
    assert [run["varies"] for run in of_sweep] == [
        {"optimizer.lr": "0.01"},
        {"optimizer.lr": "1e+30"},
    ]
    done = of_sweep[0]
    assert done["state"] == "done"
    last = run_at(tmp_path, "done").rows()[-1]
    assert (done["valid"], done["span_mean"]) == (last["final/valid_bpb"], last["span/mean"])

    assert "trained by other code" not in shown.stdout
    of_other_code(run_at(tmp_path, "done"))
    shown = adaspan("status")
    changed = "adaspan/nn/span/learned.py differs"
    assert f"\n1 of 2 trained by other code: {changed}\n" in shown.stdout
    assert "of-befo" in shown.stdout, "a column tells them apart"

    failed = run_at(tmp_path, "failed").path.name
    explained = adaspan("explain", failed)
    assert explained.returncode == 0, explained.stderr
    assert "command  python launch.py" in explained.stdout
    assert "\ntrained  from step 0: host " in explained.stdout
    assert "optimizer.lr: 1e+30, others 0.01" in explained.stdout
    logs = subprocess.run(  # which becomes `tail`
        [Path(sys.executable).parent / "adaspan", "logs", failed],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "the loss is" in logs.stdout


@pytest.mark.slow
def test_a_copy_of_runs_that_a_cluster_trains_is_shown_as_far_as_it_is_known(
    adaspan: Adaspan, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    train_here(*tiny, "train.steps=20")
    run = run_at(tmp_path, "done")
    records = run.path.parent / "sweeps" / "sweep" / "slurm"
    set_job(run, RunJob("17_0", "sweep.0123ab", records, canary=None))
    run.set_status(State.RUNNING, 12)
    (copied,) = json.loads(adaspan("status", "--json").stdout)
    assert (copied["state"], copied["slurm"]) == ("running", "no answer")


def test_a_mistake_is_one_line_that_shows_the_way_out(adaspan: Adaspan, tmp_path: Path) -> None:
    for arguments, message in (
        (("status",), "runs: no runs here; --runs names another folder"),
        (("status", "spam"), "spam: no sweep in runs/sweeps/ is there yet; --runs names"),
        (("logs", "spam"), "spam: no run in runs/ is there yet; --runs names another"),
    ):
        end = adaspan(*arguments)
        assert end.returncode == 2
        assert end.stderr.startswith(f"adaspan: error: {message}")
        assert len(end.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train.steps=20", "train.steps=20: no such command; did you mean: adaspan train train."),
        ("-m span.limit=3,4", "-m: did you mean: adaspan train -m span.limit=3,4"),
        ("--runs foo status", "--runs: goes after the command: adaspan status --runs foo"),
        ("--foo", "--foo: no such option; adaspan --help"),
        ("statsu seeds", "statsu: no such command; did you mean: adaspan status seeds"),
        ("spam", "spam: no such command; one of train, status, "),
        ("logs", "RUN: is missing; adaspan logs --help"),
        ("report --format pdf", "--format: 'pdf' is not one of 'html', 'text', "),
        ("report --margin abc", "--margin: 'abc' is not a valid float; adaspan report --help"),
        ("report --margin -1", "--margin -1.0: must be a finite number, at least 0"),
        ("report --margi 1", "No such option '--margi'. (Did you mean one of: "),
        ("status a b", "Got unexpected extra argument (b); adaspan status --help"),
    ],
)
def test_a_mistake_in_how_it_is_typed_is_one_line_too(
    adaspan: Adaspan, words: str, message: str
) -> None:
    end = adaspan(*words.split())
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line.startswith(f"adaspan: error: {message}")


def test_without_a_command_the_commands_are_listed(adaspan: Adaspan) -> None:
    end = adaspan()
    assert "Commands:\n  train" in end.stdout + end.stderr


def test_without_slurm_the_way_to_train_here_is_shown(
    adaspan: Adaspan, launch_here: Launch, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    doctor = adaspan("doctor")
    assert doctor.returncode == 1
    assert "no SLURM here" in doctor.stderr
    assert "hydra/launcher=local" in doctor.stderr
    submit = launch_here("-m", *tiny, "hydra/launcher=slurm", PATH=os.fspath(tmp_path / "bin"))
    assert submit.returncode == 2
    assert "hydra/launcher=slurm: no SLURM here" in submit.stderr
    assert not (tmp_path / "runs").exists()
