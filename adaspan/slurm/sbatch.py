"""What sbatch is given for runs: the fields of a job, what comes before and after the training."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.helpers import clean_env

from adaspan.config.schema import SlurmSettings
from adaspan.errors import UserError
from adaspan.runs.failures import KILLED_FOR_MEMORY
from adaspan.slurm import cluster
from adaspan.slurm.job import MOST_FRUITLESS_STARTS, STARTED, TRY_AGAIN

# What decides whether any node will do.
_SIZE = (
    "partition",
    "nodes",
    "tasks_per_node",
    "cpus_per_task",
    "gpus_per_node",
    "mem",
)
# A task that was itself killed without warning cannot put its job back into the queue. One that had
# too little memory would have too little again. One that never reached our code, which counts the
# starts without a checkpoint, is not put back for ever. One job of
# an array has the array's own id, which would mean all of them.
_TEARDOWN = f"""\
code=$?
job=${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}${{SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}}
records=${{{STARTED}%/*}}
if ! grep --quiet --no-messages -E "{KILLED_FOR_MEMORY}" "$records/$job"_*_log.err; then
  if [ -e "${STARTED}" ] || [ ${{SLURM_RESTART_COUNT:-0}} -lt {MOST_FRUITLESS_STARTS} ]; then
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
# What we set for every job.
_OWN_FIELDS = ("array", "error", "job-name", "output", "wrap")


def sbatch_text(count: int, sweep: Path, settings: SlurmSettings, snapshot: Path) -> str:
    """The batch script that sbatch would get for so many runs."""
    executor = make_executor(sweep, sweep.name, settings, snapshot, "")
    if count > 1:
        executor.parameters["map_count"] = min(count, cluster.array_size())
    return executor._make_submission_file_text(executor._submitit_command_str, "")


def check_settings(sweep: Path, settings: SlurmSettings, snapshot: Path) -> None:
    """Raise `UserError` if such a job would wait for ever, or could not be traced."""
    for key in settings.sbatch:
        if key.replace("_", "-") in _OWN_FIELDS:
            raise UserError(f"hydra.launcher.sbatch.{key}: every job has its own; leave it out")
    if "%" in str(sweep.resolve()):
        raise UserError(
            f"output_dir={sweep.parents[1]}: SLURM allows no % in a path; choose another folder"
        )
    longest = cluster.longest_minutes(settings.partition)
    if settings.timeout_min > longest:
        raise UserError(
            f"hydra.launcher.timeout_min={settings.timeout_min}: the partition's limit is "
            f"{longest:.0f} minutes; longer runs continue in further jobs"
        )
    with outside_of_jobs():
        refusal = cluster.refusal(sbatch_text(1, sweep, settings, snapshot))
    if "configuration is not available" in refusal:
        size = " ".join(
            f"{key}={getattr(settings, key)}" for key in _SIZE if getattr(settings, key) is not None
        )
        raise UserError(
            f"hydra.launcher: no nodes of this cluster can run such a job ({size}); sinfo shows "
            "what there is"
        )
    if refusal:
        raise UserError(f"sbatch refuses the jobs: {refusal}; see hydra.launcher.*")


def make_executor(
    sweep: Path, name: str, settings: SlurmSettings, snapshot: Path, dependency: str
) -> SlurmExecutor:
    """What submits jobs of runs.

    Args:
        sweep: folder of the sweep.
        name: of the submission, which SLURM shows.
        settings: of the jobs.
        snapshot: the code.
        dependency: what the jobs wait for, as sbatch takes it; empty: nothing.
    """
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
def outside_of_jobs() -> Iterator[None]:
    """Drop the SLURM variables of a job that this process may run in; keep those that the user set
    for sbatch.
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
