"""From runs to job arrays: each run at most once in the queue, whatever happened before.

Before SLURM is asked, the name under which it will be asked is written down; afterwards the ids. So
a launcher that is killed in between leaves a record without ids, and whatever was submitted under
its name is taken out of the queue by the next one.

runs/sweeps/<sweep>/slurm/<name>.json has runs, job ids, settings and code of one submission
"""

from __future__ import annotations

import io
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import fields
from pathlib import Path

from filelock import FileLock
from submitit.core.utils import FailedJobError

from adaspan.config.schema import SlurmSettings
from adaspan.errors import RunError, UserError
from adaspan.files import write_json
from adaspan.runs.command import program_of
from adaspan.runs.folder import RunFolder
from adaspan.slurm import cluster
from adaspan.slurm.job import train_on_node
from adaspan.slurm.job_record import RunJob, job_of, set_job
from adaspan.slurm.lookup import ENDING_SECONDS, POLL_SECONDS
from adaspan.slurm.sbatch import make_executor, outside_of_jobs


@contextmanager
def submitting(output_dir: Path) -> Iterator[None]:
    """Keep other processes from submitting runs of this folder meanwhile."""
    sweeps = output_dir / "sweeps"
    sweeps.mkdir(parents=True, exist_ok=True)
    with FileLock(sweeps / ".lock"):
        _cancel_orphans(sweeps)
        yield


def submit(
    folders: Sequence[RunFolder],
    sweep: Path,
    settings: SlurmSettings,
    snapshot: Path,
    canary: RunFolder | None = None,
) -> Iterator[tuple[RunFolder, str]]:
    """Submit runs, whose configurations are frozen, as job arrays. Only inside `submitting`.

    Arrays are no longer than the site allows. With several, each waits for the one before it, or
    the throttle would hold for each alone.

    Args:
        folders: of the runs.
        sweep: folder of the sweep.
        settings: of the jobs.
        snapshot: the code.
        canary: a run, submitted already, that must succeed first.

    Yields:
        Each run and the id of its job, once SLURM has taken it.

    Raises:
        UserError: SLURM refuses those that have not been yielded.
    """
    before = ""
    size = cluster.array_size()
    for first in range(0, len(folders), size):
        first_job = job_of(canary) if canary else None
        conditions = [f"afterok:{first_job.id}"] if first_job else []
        if before:
            conditions.append(f"afterany:{before}")
        chunk = folders[first : first + size]
        ids = _submit_array(chunk, sweep, settings, snapshot, canary, ",".join(conditions))
        before = ids[0].partition("_")[0]
        yield from zip(chunk, ids, strict=True)


def was_submitted(folder: RunFolder) -> bool:
    """Whether the run was submitted, and so can be again."""
    return _record(folder) is not None


def submitted_code(folder: RunFolder) -> Path | None:
    """The frozen code of the run's last submission, if both are still there."""
    record = _record(folder)
    code = Path(json.loads(record.read_text())["snapshot"]) if record else None
    return code if code and code.exists() else None


def _record(folder: RunFolder) -> Path | None:
    job = job_of(folder)
    record = job.records / f"{job.name}.json" if job else None
    return record if record and record.exists() else None


def resubmit(folders: Sequence[RunFolder]) -> Iterator[tuple[RunFolder, str]]:
    """Submit runs again, each with the settings and the code of its last submission. Only inside
    `submitting`; yields as `submit` does. Skips runs that were never submitted.

    Raises:
        UserError: SLURM refuses them.
    """
    by_record: dict[Path, list[RunFolder]] = {}
    for folder in folders:
        if record := _record(folder):
            by_record.setdefault(record, []).append(folder)
    for record, of_record in by_record.items():
        earlier = json.loads(record.read_text())
        settings = SlurmSettings(**earlier["settings"])
        yield from submit(of_record, record.parents[1], settings, Path(earlier["snapshot"]))


def _submit_array(
    folders: Sequence[RunFolder],
    sweep: Path,
    settings: SlurmSettings,
    snapshot: Path,
    canary: RunFolder | None,
    dependency: str,
) -> list[str]:
    name = f"{sweep.name}.{secrets.token_hex(3)}"
    record = sweep / "slurm" / f"{name}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    paths = [str(folder.path.resolve()) for folder in folders]
    written = {
        "runs": paths,
        "ids": None,
        "settings": {field.name: getattr(settings, field.name) for field in fields(SlurmSettings)},
        "snapshot": str(snapshot),
    }
    write_json(record, written)
    executor = make_executor(sweep, name, settings, snapshot, dependency)
    program = str(program_of(snapshot))
    try:
        # Submitit prints the error of sbatch, which we show ourselves.
        with outside_of_jobs(), redirect_stderr(io.StringIO()):
            jobs = executor.map_array(
                train_on_node,
                paths,
                [program] * len(paths),
                [settings.fail_fast] * len(paths),
            )
    except FailedJobError as error:
        if all(job.name != name for job in cluster.queue().values()):  # what was refused, whole
            record.unlink()
        message = cluster.what_sbatch_says(str(error))
        raise UserError(f"sbatch refuses the jobs: {message}; see hydra.launcher.*") from error
    ids = [job.job_id for job in jobs]
    for folder, id in zip(folders, ids, strict=True):
        set_job(folder, RunJob(id, name, record.parent, canary.path if canary else None))
    write_json(record, {**written, "ids": ids})
    return ids


def _cancel_orphans(sweeps: Path) -> None:
    """Cancel the jobs of launchers that were killed before they could write down the ids."""
    records = [
        record
        for record in sweeps.glob("*/slurm/*.json")
        if json.loads(record.read_text())["ids"] is None
    ]
    if not records:
        return
    names = {record.stem for record in records}
    deadline = time.monotonic() + ENDING_SECONDS
    while orphans := [job for job in cluster.queue().values() if job.name in names]:
        if time.monotonic() > deadline:
            raise RunError(
                f"job {orphans[0].id} of a launcher that was killed has not ended yet; try again"
            )
        cluster.cancel(job.id for job in orphans if job.state != "COMPLETING")
        time.sleep(POLL_SECONDS)
    for record in records:
        record.unlink()
