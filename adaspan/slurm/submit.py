"""From runs to job arrays: each run at most once in the queue, whatever happened before.

Before SLURM is asked, the name under which it will be asked is written down; afterwards the ids. So
a launcher that is killed in between leaves a record without ids, and whatever was submitted under
its name is taken out of the queue by the next one.

runs/sweeps/<sweep>/slurm/<name>.json    runs, job ids, settings and code of one submission
runs/<run>/job.json                      the last job of a run, by the name of its submission
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import fields
from pathlib import Path
from typing import Any

from filelock import FileLock
from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError
from submitit.helpers import clean_env

from adaspan.config.schema import SlurmSettings
from adaspan.errors import RunError, UserError
from adaspan.files import write_json
from adaspan.run_folder import RunFolder
from adaspan.slurm import cluster
from adaspan.slurm.job import MOST_IN_VAIN, STARTED, TRY_AGAIN, train_on_node

_POLL_SECONDS = 1.0
# A run that is told to leave finishes a step and writes a checkpoint.
_ENDING_SECONDS = 180.0
# What decides whether any node will do.
_SIZE = (
    "partition",
    "nodes",
    "tasks_per_node",
    "cpus_per_task",
    "gpus_per_node",
    "mem",
)
# How SLURM says that it, or the kernel, killed a job for its memory.
_MEMORY_WORDS = "exceeded .*memory limit|oom.kill|: Out Of Memory"
# A task that was itself killed without warning cannot put its job back into the queue. One that had
# too little memory would have it again; one that did not get as far as our code, which counts in
# vain, is not put back for ever. One job of an array bears the array's own id, which means all of
# them.
_TEARDOWN = f"""\
code=$?
job=${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}${{SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}}
records=${{{STARTED}%/*}}
if ! grep --quiet --no-messages -E "{_MEMORY_WORDS}" "$records/$job"_*_log.err; then
  if [ -e "${STARTED}" ] || [ ${{SLURM_RESTART_COUNT:-0}} -lt {MOST_IN_VAIN} ]; then
    if [ $code -gt 128 ] && [ "$(squeue --all -h -j $job -o %T)" = RUNNING ]; then
      scontrol requeue $job && exit $code
    fi
  fi
fi
"""
# With fail_fast, what else the sweep has waiting; job.py does so for failures that it sees itself.
_CANCEL_WAITING = f"""\
if [ $code -ne 0 ] && [ $code -ne {TRY_AGAIN} ]; then
  for record in "$records"/*.json; do
    scancel --state=PENDING --name="$(basename "$record" .json)"
  done
fi
"""
# What SLURM is told for every job of ours.
_OWN_FIELDS = ("array", "error", "job-name", "output", "wrap")


@contextmanager
def submitting(output_dir: Path) -> Iterator[None]:
    """Keep everybody else from submitting runs of this folder meanwhile."""
    folder = output_dir / "sweeps"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        _cancel_orphans(folder)
        yield


def settled_jobs(runs: Sequence[RunFolder]) -> dict[Path, cluster.Queued]:
    """`live_jobs`, once those that are just ending have ended (or a while has passed).

    Raises:
        RunError: SLURM does not answer.
    """
    deadline = time.monotonic() + _ENDING_SECONDS
    while True:
        live = live_jobs(runs, cluster.queue())
        ending = any(job.state == "COMPLETING" for job in live.values())
        if not ending or time.monotonic() > deadline:
            return live
        time.sleep(_POLL_SECONDS)


def live_jobs(
    runs: Sequence[RunFolder], queue: Mapping[str, cluster.Queued]
) -> dict[Path, cluster.Queued]:
    """Which of the runs have a job, waiting or running."""
    found = {}
    for run in runs:
        job = run.job()
        queued = queue.get(job.get("id", ""))
        if queued and queued.name == job["name"]:
            found[run.path] = queued
    return found


def job_logs(run: RunFolder) -> list[Path]:
    """What the run's last job printed before the run itself could."""
    records = run.job_records()
    return sorted(records.glob(f"{run.job()['id']}_*_log.*")) if records else []


def ran_out_of_memory(run: RunFolder) -> bool:
    """Whether SLURM says so of the run's last job."""
    return any(re.search(_MEMORY_WORDS, log.read_text(errors="replace")) for log in job_logs(run))


def printed(run: RunFolder) -> str:
    """The last line of `job_logs`, of an error if there is one; empty if the job never got to a
    node.
    """
    logs = job_logs(run)
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
    return "no word" if logs else ""


def submit(
    runs: Sequence[RunFolder],
    sweep: Path,
    settings: SlurmSettings,
    snapshot: Path,
    canary: RunFolder | None = None,
) -> Iterator[tuple[RunFolder, str]]:
    """Submit runs, whose configurations are frozen, as job arrays. Only inside `submitting`.

    Arrays are no longer than the site allows. With several, each waits for the one before it, or
    the throttle would hold for each alone.

    Args:
        runs: their folders.
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
    for first in range(0, len(runs), size):
        conditions = [f"afterok:{canary.job()['id']}"] if canary else []
        if before:
            conditions.append(f"afterany:{before}")
        chunk = runs[first : first + size]
        ids = _submit_array(chunk, sweep, settings, snapshot, canary, ",".join(conditions))
        before = ids[0].partition("_")[0]
        yield from zip(chunk, ids, strict=True)


def was_submitted(run: RunFolder) -> bool:
    """Whether it can be submitted again."""
    return _record(run) is not None


def _record(run: RunFolder) -> Path | None:
    records = run.job_records()
    record = records / f"{run.job()['name']}.json" if records else None
    return record if record and record.exists() else None


def resubmit(runs: Sequence[RunFolder]) -> Iterator[tuple[RunFolder, str]]:
    """Submit runs again, each with the settings and the code of its last submission. Only inside
    `submitting`; yields as `submit` does. Those that `was_submitted` denies are passed over.

    Raises:
        UserError: SLURM refuses them.
    """
    by_record: dict[Path, list[RunFolder]] = {}
    for run in runs:
        if record := _record(run):
            by_record.setdefault(record, []).append(run)
    for record, of_record in by_record.items():
        earlier = json.loads(record.read_text())
        settings = SlurmSettings(**earlier["settings"])
        yield from submit(of_record, record.parents[1], settings, Path(earlier["snapshot"]))


def sbatch_text(count: int, sweep: Path, settings: SlurmSettings, snapshot: Path) -> str:
    """What sbatch would be given for so many runs."""
    executor = _executor(sweep, sweep.name, settings, snapshot, "")
    if count > 1:
        executor.parameters["map_count"] = min(count, cluster.array_size())
    return executor._make_submission_file_text(executor._submitit_command_str, "")


def check_settings(sweep: Path, settings: SlurmSettings, snapshot: Path) -> None:
    """Raise `UserError` if such a job could only wait for ever, or would not be found again."""
    for key in settings.sbatch:
        if key.replace("_", "-") in _OWN_FIELDS:
            raise UserError(f"hydra.launcher.sbatch.{key}: every job has its own; leave it out")
    if "%" in str(sweep.resolve()):
        raise UserError(f"output_dir={sweep.parents[1]}: SLURM does not take % in a path")
    longest = cluster.longest_minutes(settings.partition)
    if settings.timeout_min > longest:
        raise UserError(
            f"hydra.launcher.timeout_min={settings.timeout_min}: jobs of this partition may take "
            f"{longest:.0f}; a run goes on in as many jobs as it takes"
        )
    with _outside_of_jobs():
        refusal = cluster.refusal(sbatch_text(1, sweep, settings, snapshot))
    if "configuration is not available" in refusal:
        asked = " ".join(
            f"{key}={getattr(settings, key)}" for key in _SIZE if getattr(settings, key) is not None
        )
        raise UserError(
            f"hydra.launcher: no nodes of this cluster can run such a job ({asked}); sinfo shows "
            "what there is"
        )
    if refusal:
        raise UserError(f"sbatch refuses the jobs: {refusal}; see hydra.launcher.*")


def _submit_array(
    runs: Sequence[RunFolder],
    sweep: Path,
    settings: SlurmSettings,
    snapshot: Path,
    canary: RunFolder | None,
    dependency: str,
) -> list[str]:
    name = f"{sweep.name}.{secrets.token_hex(3)}"
    record = sweep / "slurm" / f"{name}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    folders = [str(run.path.resolve()) for run in runs]
    written = {
        "runs": folders,
        "ids": None,
        "settings": {field.name: getattr(settings, field.name) for field in fields(SlurmSettings)},
        "snapshot": str(snapshot),
    }
    write_json(record, written)
    executor = _executor(sweep, name, settings, snapshot, dependency)
    program = str(snapshot / "launch.py")
    try:
        # Submitit prints what sbatch says, which we tell ourselves.
        with _outside_of_jobs(), redirect_stderr(io.StringIO()):
            jobs = executor.map_array(
                train_on_node,
                folders,
                [program] * len(folders),
                [settings.fail_fast] * len(folders),
            )
    except FailedJobError as error:
        if all(job.name != name for job in cluster.queue().values()):  # what was refused, whole
            record.unlink()
        said = cluster.what_sbatch_says(str(error))
        raise UserError(f"sbatch refuses the jobs: {said}; see hydra.launcher.*") from error
    ids = [job.job_id for job in jobs]
    for run, id in zip(runs, ids, strict=True):
        run.set_job(id, name, record.parent, str(canary.path.resolve()) if canary else None)
    write_json(record, {**written, "ids": ids})
    return ids


def _executor(
    sweep: Path, name: str, settings: SlurmSettings, snapshot: Path, dependency: str
) -> SlurmExecutor:
    executor = _Executor((sweep / "slurm").resolve(), max_num_timeout=0)
    gpus = settings.gpus_per_node
    if gpus is None:
        gpus = min(settings.tasks_per_node, cluster.gpus_a_node(settings.partition))
    conditions = [text for text in (dependency, settings.sbatch.get("dependency")) if text]
    parameters: dict[str, Any] = {
        "job_name": name,
        "partition": settings.partition,
        "time": settings.timeout_min,
        "nodes": settings.nodes,
        "ntasks_per_node": settings.tasks_per_node,
        "cpus_per_task": settings.cpus_per_task,
        "gpus_per_node": gpus or None,
        "signal_delay_s": settings.signal_delay_s,
        "array_parallelism": settings.array_parallelism,
        "dependency": ",".join(conditions) or None,
        "wckey": None,
        # The snapshot's code, and not what is in the folder that the job starts in.
        "setup": [
            f"export PYTHONPATH={shlex.quote(str(snapshot))}${{PYTHONPATH:+:$PYTHONPATH}}",
            "export PYTHONSAFEPATH=1",
            f"export {STARTED}={shlex.quote(str(executor.folder))}/$SLURM_JOB_ID.started",
            f'rm -f "${STARTED}"',
            *settings.setup,
        ],
        "teardown": _teardown(settings.fail_fast).splitlines(),
        # srun does not take over --cpus-per-task; one task that leaves must not end the others.
        "srun_args": [
            f"--cpus-per-task={settings.cpus_per_task}",
            "--kill-on-bad-exit=0",
            *settings.srun_args,
        ],
        "additional_parameters": _more_fields(settings, dependency),
    }
    executor.update_parameters(**parameters)
    return executor


def _more_fields(settings: SlurmSettings, dependency: str) -> dict[str, Any]:
    """Fields of sbatch that submitit does not know; what is null or false is left out."""
    fields = {
        "requeue": True,
        "mem": settings.mem,
        "kill-on-invalid-dep": "yes" if dependency else None,
        **{key.replace("_", "-"): value for key, value in settings.sbatch.items()},
        "dependency": None,  # is among those that submitit knows
    }
    if fields.get("no-requeue"):
        del fields["requeue"]
    return {key: value for key, value in fields.items() if value is not None and value is not False}


def _teardown(fail_fast: bool) -> str:
    return _TEARDOWN + (_CANCEL_WAITING if fail_fast else "") + "exit $code\n"


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Without what SLURM told a job that this process may itself be part of, but with what the user
    tells sbatch.
    """
    kept = {
        key: value
        for key, value in os.environ.items()
        if key == "SLURM_CONF" or key.startswith("SBATCH_")
    }
    with clean_env():
        os.environ.update(kept)
        yield


class _Executor(SlurmExecutor):
    @classmethod
    def affinity(cls) -> int:
        return 1  # a preview needs no SLURM, and sbatch speaks for itself


def _cancel_orphans(sweeps: Path) -> None:
    """End what a launcher submitted that was killed before it could write down the ids."""
    records = [
        record
        for record in sweeps.glob("*/slurm/*.json")
        if json.loads(record.read_text())["ids"] is None
    ]
    if not records:
        return
    names = {record.stem for record in records}
    deadline = time.monotonic() + _ENDING_SECONDS
    while orphans := [job for job in cluster.queue().values() if job.name in names]:
        if time.monotonic() > deadline:
            raise RunError(f"job {orphans[0].id} of a killed launcher does not end; try again")
        cluster.cancel(job.id for job in orphans if job.state != "COMPLETING")
        time.sleep(_POLL_SECONDS)
    for record in records:
        record.unlink()
