"""Which job a run has in the queue, and what its last one printed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from adaspan.runs.failures import says_killed_for_memory
from adaspan.runs.folder import RunFolder
from adaspan.slurm import cluster
from adaspan.slurm.job_record import job_of

POLL_SECONDS = 1.0
# A run that is asked to leave finishes a step and writes a checkpoint.
ENDING_SECONDS = 180.0


def live_jobs(
    folders: Sequence[RunFolder], queue: Mapping[str, cluster.Queued]
) -> dict[Path, cluster.Queued]:
    """Which of the runs have a job, waiting or running."""
    live = {}
    for folder in folders:
        job = job_of(folder)
        queued = queue.get(job.id) if job else None
        if job and queued and queued.name == job.name:
            live[folder.path] = queued
    return live


def settled_jobs(folders: Sequence[RunFolder]) -> dict[Path, cluster.Queued]:
    """`live_jobs`, once those that are just ending have ended (or a while has passed).

    Raises:
        RunError: SLURM does not answer.
    """
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        live = live_jobs(folders, cluster.queue())
        ending = any(job.state == "COMPLETING" for job in live.values())
        if not ending or time.monotonic() > deadline:
            return live
        time.sleep(POLL_SECONDS)


def job_logs(folder: RunFolder) -> list[Path]:
    """What the run's last job printed before the run itself could."""
    job = job_of(folder)
    return sorted(job.records.glob(f"{job.id}_*_log.*")) if job else []


def ran_out_of_memory(folder: RunFolder) -> bool:
    """Whether SLURM says so of the run's last job."""
    texts = (log.read_text(errors="replace") for log in job_logs(folder))
    return any(map(says_killed_for_memory, texts))


def printed(folder: RunFolder) -> str:
    """The last line of `job_logs`, the last error if there is one; empty if the job never got to a
    node.
    """
    logs = job_logs(folder)
    for ending in (".err", ".out"):
        lines = [
            line
            for log in logs
            if log.suffix == ending
            for line in log.read_text(errors="replace").splitlines()
            # What these add says only that there was an error.
            if line.strip() and not line.startswith(("srun: error:", "submitit "))
        ]
        if lines:
            return lines[-1]
    return "no message" if logs else ""
