"""What a run's last job has said is found, and the line of it that says most."""

from __future__ import annotations

from pathlib import Path

from adaspan.runs.folder import RunFolder
from adaspan.slurm.job_record import RunJob, set_job
from adaspan.slurm.lookup import printed


def test_the_last_error_counts_before_what_was_merely_printed(tmp_path: Path) -> None:
    run, records = RunFolder(tmp_path / "run"), tmp_path / "sweeps" / "s" / "slurm"
    run.path.mkdir()
    records.mkdir(parents=True)
    set_job(run, RunJob("17_0", "s.0123ab", records, canary=None))
    assert printed(run) == ""
    (records / "17_0_0_log.out").write_text("bye\n")
    (records / "17_0_0_log.err").write_text("srun: error: n1: task 0: Exited\n")
    assert printed(run) == "bye"
    (records / "17_0_0_log.err").write_text("module not found\nsubmitit ERROR (now) - left\n")
    assert printed(run) == "module not found"
