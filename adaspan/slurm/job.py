"""What runs on a node: trains one run, goes back into the queue, explains what failed.

SLURM starts this once a task; the training, in the snapshot's code, is a process below it. USR2
and TERM are passed on until it has saved and left. Then the first task says what becomes of the
run:

- stopped by a signal, or killed without warning: back into the queue, where the site allows that;
- failed: the class of the failure and its last line, in status.json;
- done: nothing more.

Unless it has to leave at once, it also lets go of jobs of its sweep that SLURM holds back because a
node failed as they started: whoever submitted them may be away.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from submitit import JobEnvironment
from submitit.helpers import TorchDistributedEnvironment

from adaspan.errors import RunError, UserError
from adaspan.runs.command import started, threads
from adaspan.runs.failures import Failure, FailureClass, State, failure_of_exit
from adaspan.runs.folder import RunFolder
from adaspan.slurm import cluster
from adaspan.slurm.control_group import ran_out_of_memory
from adaspan.slurm.job_record import count_start, forgive_starts, job_of

# A job that has started so often without a new checkpoint will not do better the next time.
MOST_FRUITLESS_STARTS = 5
# Environment variable: a file that exists once a job has got as far as this code.
STARTED = "ADASPAN_STARTED"
TRY_AGAIN = os.EX_TEMPFAIL
# Within which another task writes down why it failed.
_OTHERS_SECONDS = 3.0
# Between repetitions of a signal: a process that is still starting may miss the first.
_REPEAT_SECONDS = 1.0


def train_on_node(
    path: str, program: str, fail_fast: bool, repeat_seconds: float = _REPEAT_SECONDS
) -> None:
    """Train the run of a folder until it is done or has to leave.

    Args:
        path: of the run folder, which holds its configuration.
        program: of the snapshot, which trains.
        fail_fast: if it fails, take the waiting jobs of the same submission out of the queue.
        repeat_seconds: between repetitions of a signal.

    Raises:
        SystemExit: the run is not done: 1 or 2 as the training says, 75 if it is to be tried again.
    """
    task = JobEnvironment()
    folder = RunFolder(Path(path))
    with _asked_to_stop() as signals:
        if task.num_tasks > 1:
            TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        if task.global_rank > 0:
            raise SystemExit(_follow(folder, Path(program), signals, repeat_seconds))
        Path(os.environ[STARTED]).touch()
        if count_start(folder, os.environ["SLURM_JOB_NAME"]) >= MOST_FRUITLESS_STARTS:
            message = (
                f"ended without a message {MOST_FRUITLESS_STARTS} times since the last checkpoint"
            )
            code = _fail(folder, 1, Failure(FailureClass.NODE, message), fail_fast)
            if task.num_tasks > 1:  # which would wait for this one
                with suppress(RunError):
                    cluster.cancel([task.job_id])
            raise SystemExit(code)
        before = folder.status()
        code = _train(folder, Path(program), signals, repeat_seconds)
        if not signals:
            _release_siblings(folder)
        if code:
            raise SystemExit(_settle(folder, task, code, bool(signals), before, fail_fast))


def _follow(
    folder: RunFolder, program: Path, signals: list[signal.Signals], repeat_seconds: float
) -> int:
    """Train as a later task; the first decides what becomes of the run. Returns the exit code."""
    code = _train(folder, program, signals, repeat_seconds)
    if code < 0 and not signals and ran_out_of_memory():
        _set_failed(folder, _killed_for_memory(code))
    return code if code >= 0 else 1


def _train(
    folder: RunFolder, program: Path, signals: list[signal.Signals], repeat_seconds: float
) -> int:
    """Exit code of the training, negative if a signal killed it.

    Args:
        folder: of the run.
        program: which trains.
        signals: the signals received so far; they are passed on to the training.
        repeat_seconds: between repetitions of the last.
    """
    with folder.output.open("ab") as output:
        if signals:
            return TRY_AGAIN
        environment = {**os.environ, **_threads()}
        process = subprocess.Popen(
            started(folder.path, program), stdout=output, stderr=output, env=environment
        )
        while True:
            try:
                return process.wait(repeat_seconds)
            except subprocess.TimeoutExpired:
                if signals:
                    process.send_signal(signals[-1])


@contextmanager
def _asked_to_stop() -> Iterator[list[signal.Signals]]:
    """The signals received; submitit's own handlers would end this process at the first."""
    received: list[signal.Signals] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))

    for number in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, receive)
    yield received


def _threads() -> dict[str, str]:
    """A process computes with the cores that it was given, not with all of the node."""
    cores = os.environ.get("SLURM_CPUS_PER_TASK")
    return threads(cores) if cores else {}


def _settle(
    folder: RunFolder,
    task: JobEnvironment,
    code: int,
    was_asked: bool,
    before: Mapping[str, Any],
    fail_fast: bool,
) -> int:
    """Decide what becomes of a run that is not done; the exit code.

    Args:
        folder: of the run.
        task: this one.
        code: of the training.
        was_asked: whether a signal asked it to stop.
        before: the status before it started.
        fail_fast: see `train_on_node`.
    """
    stopped = folder.state == State.RESUMABLE and folder.status() != before
    if was_asked or stopped:
        forgive_starts(folder)
        return _try_again(folder, task.job_id)
    failure = _explain(folder, code, before)
    if failure.kind == FailureClass.NODE and task.num_tasks > 1:
        time.sleep(_OTHERS_SECONDS)  # another task may know why it left
        failure = _explain(folder, code, before)
    if failure.kind == FailureClass.NODE:
        return _try_again(folder, task.job_id)
    return _fail(folder, code, failure, fail_fast)


def _try_again(folder: RunFolder, job_id: str) -> int:
    """Put the job back into the queue; where that is forbidden, leave the run resumable."""
    if not (cluster.may_requeue(job_id) and cluster.requeue(job_id)):
        with suppress(UserError), folder.lock():  # or another process trains it
            if folder.state == State.RUNNING:
                folder.set_status(State.RESUMABLE, folder.status()["step"])
    return TRY_AGAIN


def _fail(folder: RunFolder, code: int, failure: Failure, fail_fast: bool) -> int:
    try:
        with folder.lock():
            _set_failed(folder, failure)
    except UserError:  # another process trains it, and knows better
        return TRY_AGAIN
    if fail_fast:
        cluster.cancel_waiting(_submissions_of_this_sweep(folder))
    return code if code > 0 else 1


def _set_failed(folder: RunFolder, failure: Failure) -> None:
    folder.set_failed(folder.status().get("step", 0), failure)


def _submissions_of_this_sweep(folder: RunFolder) -> set[str]:
    """The names of its jobs, which `submit.py` wrote down."""
    job = job_of(folder)
    names = {record.stem for record in job.records.glob("*.json")} if job else set()
    return {os.environ["SLURM_JOB_NAME"], *names}


def _release_siblings(folder: RunFolder) -> None:
    names = _submissions_of_this_sweep(folder)
    with suppress(RunError):  # no squeue or scontrol on this node: the next command does it
        cluster.release_held_back(job for job in cluster.queue().values() if job.name in names)


def _explain(folder: RunFolder, code: int, before: Mapping[str, Any]) -> Failure:
    """Why it failed: as its process wrote it down, unless the kernel killed that, or as it ended.

    Args:
        folder: of the run.
        code: of the training.
        before: the status before it started.
    """
    if code < 0 and ran_out_of_memory():
        return _killed_for_memory(code)
    if folder.status() != before and (written := folder.failure()):
        return written
    if code < 0:
        name = signal.Signals(-code).name
        return Failure(FailureClass.NODE, f"killed without warning ({name})")
    failure = failure_of_exit(code, folder.last_words())
    if (
        code == UserError.exit_code and folder.is_locked()
    ):  # the job before this one is still leaving
        return Failure(FailureClass.NODE, failure.message)
    return failure


def _killed_for_memory(code: int) -> Failure:
    name = signal.Signals(-code).name
    return Failure(FailureClass.OUT_OF_MEMORY, f"the node's memory was used up ({name})")
