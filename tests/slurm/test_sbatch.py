"""What sbatch is given, as a whole: a changed line changes how every job behaves."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adaspan.config.schema import SlurmSettings
from adaspan.errors import UserError
from adaspan.slurm.job import STARTED
from adaspan.slurm.sbatch import check_settings, sbatch_text

GOLDEN = Path(__file__).with_name("sbatch.txt")
SETTINGS = SlurmSettings(
    partition="main",
    timeout_min=240,
    nodes=2,
    tasks_per_node=4,
    gpus_per_node=4,
    cpus_per_task=8,
    mem="64G",
    signal_delay_s=90,
    array_parallelism=16,
    setup=["module load cuda"],
    srun_args=["--mpi=none"],
    sbatch={"account": "mygroup", "mail_type": "END", "exclusive": True, "nice": None},
)


def text(**changes: Any) -> str:
    settings = dataclasses.replace(SETTINGS, **changes)
    given = sbatch_text(40, Path("/runs/sweeps/span_limit-0123ab"), settings, Path("/runs/code/1f"))
    return given.replace(sys.executable, "PYTHON")


def test_sbatch_is_given_this_text() -> None:
    assert text() == GOLDEN.read_text()


@pytest.mark.parametrize(
    ("code", "restarts", "got_to_us", "again"),
    [
        (137, 0, True, True),
        (137, 99, True, True),
        (139, 4, False, True),
        (139, 5, False, False),
        (1, 0, True, False),
    ],
    ids=["killed", "killed again and again", "crashed early", "crashed early for ever", "failed"],
)
def test_a_killed_task_is_put_back_but_not_for_ever(
    tmp_path: Path, code: int, restarts: int, got_to_us: bool, again: bool
) -> None:
    assert requeued(tmp_path, code, restarts, got_to_us) == again


@pytest.mark.parametrize(
    ("output", "again"),
    [
        ("slurmstepd: error: StepId=3.0 exceeded memory limit (2 > 1), being killed", False),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=3.0.", False),
        ("srun: error: n1: task 0: Out Of Memory", False),
        ("srun: error: n1: task 0: Killed", True),
    ],
)
def test_a_task_killed_for_its_memory_is_not_put_back(
    tmp_path: Path, output: str, again: bool
) -> None:
    (tmp_path / "17_0_log.err").write_text(f"one\n{output}\n")
    (tmp_path / "18_0_log.err").write_text("srun: error: n1: task 0: Out Of Memory")
    assert requeued(tmp_path, code=137, restarts=0, got_to_us=True) == again


def requeued(tmp_path: Path, code: int, restarts: int, got_to_us: bool) -> bool:
    """Whether a job whose task ended with `code` is put back into the queue."""
    for name, does in (("squeue", "echo RUNNING"), ("scontrol", f'echo "$@" > {tmp_path}/asked')):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{does}\n")
        tool.chmod(0o755)
    started = tmp_path / "started"
    if got_to_us:
        started.touch()
    teardown = text().partition("# teardown\n")[2]
    end = subprocess.run(
        ["bash", "-c", f"(exit {code})\n{teardown}"],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "SLURM_JOB_ID": "17",
            "SLURM_RESTART_COUNT": str(restarts),
            STARTED: str(started),
        },
        check=False,
    )
    assert end.returncode == code
    asked = tmp_path / "asked"
    if asked.exists():
        assert asked.read_text() == "requeue 17\n"
    return asked.exists()


def test_conditions_of_ones_own_are_kept() -> None:
    assert "#SBATCH --dependency=afterok:12\n" in text(sbatch={"dependency": "afterok:12"})


def test_all_memory_is_asked_for_with_a_zero() -> None:
    assert "#SBATCH --mem=0\n" in text(mem=None, sbatch={"mem": 0})


@pytest.mark.parametrize("field", ["job_name", "array", "output"])
def test_what_every_job_has_of_its_own_is_refused(field: str) -> None:
    settings = dataclasses.replace(SETTINGS, sbatch={field: "mine"})
    with pytest.raises(UserError, match=rf"hydra\.launcher\.sbatch\.{field}: every job has its"):
        check_settings(Path("/runs/sweeps/span_limit-0123ab"), settings, Path("/runs/code/1f"))


def test_a_site_that_forbids_requeueing_is_not_asked_for_it() -> None:
    given = text(sbatch={"no_requeue": True})
    assert "#SBATCH --no-requeue\n" in given
    assert "#SBATCH --requeue" not in given


def test_without_gpus_none_is_asked_for() -> None:
    assert "gpu" not in text(gpus_per_node=0)


@pytest.mark.parametrize(("code", "cancels"), [(0, False), (75, False), (1, True), (137, True)])
def test_on_request_a_job_that_failed_takes_what_waits_along(
    tmp_path: Path, code: int, cancels: bool
) -> None:
    for name in ("sweep.aaa.json", "sweep.bbb.json"):
        (tmp_path / name).touch()
    (tmp_path / "17_0_log.err").write_text("srun: error: n1: task 0: Out Of Memory")
    tool = tmp_path / "scancel"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    tool.chmod(0o755)
    teardown = text(fail_fast=True).partition("# teardown\n")[2]
    subprocess.run(
        ["bash", "-c", f"(exit {code})\n{teardown}"],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "SLURM_JOB_ID": "17",
            STARTED: str(tmp_path / "started"),
        },
        check=False,
    )
    asked = tmp_path / "asked"
    assert asked.exists() == cancels
    if cancels:
        assert asked.read_text().splitlines() == [
            f"--state=PENDING --name=sweep.{name}" for name in ("aaa", "bbb")
        ]
