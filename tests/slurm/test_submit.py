"""What sbatch is given, as a whole: a changed line changes how every job behaves."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from adaspan.config.schema import SlurmSettings
from adaspan.errors import UserError
from adaspan.run_folder import RunFolder
from adaspan.slurm.submit import resubmit, sbatch_text

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


def text(**changes: object) -> str:
    settings = dataclasses.replace(SETTINGS, **changes)  # type: ignore[arg-type]
    given = sbatch_text(40, Path("/runs/sweeps/span_limit-0123ab"), settings, Path("/runs/code/1f"))
    return given.replace(sys.executable, "PYTHON")


def test_sbatch_is_given_this_text() -> None:
    assert text() == GOLDEN.read_text()


def test_a_site_that_forbids_requeueing_is_not_asked_for_it() -> None:
    given = text(sbatch={"no_requeue": True})
    assert "#SBATCH --no-requeue\n" in given
    assert "#SBATCH --requeue" not in given


def test_without_gpus_none_is_asked_for() -> None:
    assert "gpu" not in text(gpus_per_node=0)


def test_a_run_that_was_never_submitted_cannot_be_sent_again(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was never submitted"):
        resubmit([RunFolder(tmp_path)])
