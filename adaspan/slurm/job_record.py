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


def job_of(folder: RunFolder) -> RunJob | None:
    """The run's last job; None if it had none."""
    written: dict[str, Any] = read_json(_job(folder))
    if not written:
        return None
    canary = written["canary"]
    records = Path(os.path.normpath(folder.path / written["records"]))
    return RunJob(written["id"], written["name"], records, Path(canary) if canary else None)


def set_job(folder: RunFolder, job: RunJob) -> None:
    """Note that the run was submitted."""
    written = {
        "id": job.id,
        "name": job.name,
        "canary": str(job.canary.resolve()) if job.canary else None,
        "records": os.path.relpath(job.records, folder.path),
    }
    write_json(_job(folder), written)


def count_start(folder: RunFolder, name: str) -> int:
    """Note that a job of this name starts.

    Returns:
        How often it has started before without a new checkpoint since.
    """
    before: dict[str, Any] = read_json(_starts(folder))
    newest, furthest = folder.newest_checkpoint(), before.get("furthest", 0)
    goes_on = before.get("job") == name and newest <= furthest
    fruitless: int = before["in_vain"] + 1 if goes_on else 0
    starts = {"job": name, "furthest": max(newest, furthest), "in_vain": fruitless}
    write_json(_starts(folder), starts)
    return fruitless


def forgive_starts(folder: RunFolder) -> None:
    """Count starts anew: the run was asked to leave, so that the last one says nothing."""
    write_json(_starts(folder), {**read_json(_starts(folder)), "in_vain": 0})


def has_started(folder: RunFolder, job: RunJob) -> bool:
    """Whether a job of the run got as far as a node."""
    started: bool = read_json(_starts(folder)).get("job") == job.name
    return started


def _job(folder: RunFolder) -> Path:
    return folder.path / "job.json"


def _starts(folder: RunFolder) -> Path:
    return folder.path / "starts.json"
