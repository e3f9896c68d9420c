"""What a run folder says of the run's jobs.

job.json       the last job, written by whoever submits
starts.json    how often that job started, written by the job
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaspan.files import read_json, write_json
from adaspan.runs.folder import RunFolder


@dataclass(frozen=True)
class RunJob:
    """A job that a run was submitted as."""

    id: str
    name: str  # of the submission, which SLURM shows
    records: Path  # where the submissions of its sweep are written down, and what their jobs print
    canary: Path | None  # folder of the run that must succeed first


def job_of(run: RunFolder) -> RunJob | None:
    """The run's last job; None if it had none."""
    written: dict[str, Any] = read_json(_job(run))
    if not written:
        return None
    canary = written["canary"]
    records = Path(os.path.normpath(run.path / written["records"]))
    return RunJob(written["id"], written["name"], records, Path(canary) if canary else None)


def set_job(run: RunFolder, job: RunJob) -> None:
    """Note that the run was submitted."""
    written = {
        "id": job.id,
        "name": job.name,
        "canary": str(job.canary.resolve()) if job.canary else None,
        "records": os.path.relpath(job.records, run.path),
    }
    write_json(_job(run), written)


def count_start(run: RunFolder, name: str) -> int:
    """Note that a job of this name starts; how often it did since the last new checkpoint."""
    before: dict[str, Any] = read_json(_starts(run))
    steps = [int(path.stem.partition("_")[2]) for path in run.checkpoints.glob("step_*.pt")]
    newest, furthest = max(steps, default=0), before.get("furthest", 0)
    goes_on = before.get("job") == name and newest <= furthest
    in_vain: int = before["in_vain"] + 1 if goes_on else 0
    starts = {"job": name, "furthest": max(newest, furthest), "in_vain": in_vain}
    write_json(_starts(run), starts)
    return in_vain


def excuse_start(run: RunFolder) -> None:
    """The last start was not in vain: the run was asked to leave."""
    write_json(_starts(run), {**read_json(_starts(run)), "in_vain": 0})


def has_started(run: RunFolder, job: RunJob) -> bool:
    """Whether a job of the run got as far as a node."""
    started: bool = read_json(_starts(run)).get("job") == job.name
    return started


def _job(run: RunFolder) -> Path:
    return run.path / "job.json"


def _starts(run: RunFolder) -> Path:
    return run.path / "starts.json"
