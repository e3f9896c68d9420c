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
from adaspan.slurm.job_record import count_start, excuse_start, job_of

# A job that ends so often before its run has saved anything new will not do better the next time.
MOST_IN_VAIN = 5
# Names a file, which says that a job got as far as this.
STARTED = "ADASPAN_STARTED"
TRY_AGAIN = os.EX_TEMPFAIL
# In which another task says what it failed of.
_OTHERS_SECONDS = 3.0
# Between repetitions of a signal, which a process that is still starting may miss.
_REPEAT_SECONDS = 1.0
CONTROL_GROUPS = Path("/sys/fs/cgroup")


def train_on_node(
    folder: str, program: str, fail_fast: bool, repeat_seconds: float = _REPEAT_SECONDS
) -> None:
    """Train the run of a folder until it is done or has to leave.

    Args:
        folder: run folder, which holds its configuration.
        program: of the snapshot, which trains.
        fail_fast: if it fails, take the waiting jobs of the same submission out of the queue.
        repeat_seconds: between repetitions of a signal.

    Raises:
        SystemExit: the run is not done: 1 or 2 as the training says, 75 if it is to be tried again.
    """
    task = JobEnvironment()
    run = RunFolder(Path(folder))
    with _asked_to_stop() as asked:
        if task.num_tasks > 1:
            TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        if task.global_rank > 0:
            raise SystemExit(_follow(run, Path(program), asked, repeat_seconds))
        Path(os.environ[STARTED]).touch()
        if count_start(run, os.environ["SLURM_JOB_NAME"]) >= MOST_IN_VAIN:
            message = f"ended {MOST_IN_VAIN} times without a word since the last checkpoint"
            code = _fail(run, 1, Failure(FailureClass.NODE, message), fail_fast)
            if task.num_tasks > 1:  # which would wait for this one
                with suppress(RunError):
                    cluster.cancel([task.job_id])
            raise SystemExit(code)
        before = run.status()
        code = _train(run, Path(program), asked, repeat_seconds)
        if not asked:
            _release_siblings(run)
        if code:
            raise SystemExit(_settle(run, task, code, bool(asked), before, fail_fast))


def _follow(
    run: RunFolder, program: Path, asked: list[signal.Signals], repeat_seconds: float
) -> int:
    """Train as any but the first task, which decides what becomes of the run; the exit code."""
    code = _train(run, program, asked, repeat_seconds)
    if code < 0 and not asked and _ran_out_of_memory():
        _set_failed(run, _killed_for_memory(code))
    return code if code >= 0 else 1


def _train(
    run: RunFolder, program: Path, asked: list[signal.Signals], repeat_seconds: float
) -> int:
    """Exit code of the training, negative if a signal killed it.

    Args:
        run: its folder.
        program: which trains.
        asked: signals as they come, which are passed on.
        repeat_seconds: between repetitions of the last.
    """
    with run.output.open("ab") as output:
        if asked:
            return TRY_AGAIN
        environment = {**os.environ, **_threads()}
        process = subprocess.Popen(
            started(run.path, program), stdout=output, stderr=output, env=environment
        )
        while True:
            try:
                return process.wait(repeat_seconds)
            except subprocess.TimeoutExpired:
                if asked:
                    process.send_signal(asked[-1])


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
    run: RunFolder,
    task: JobEnvironment,
    code: int,
    was_asked: bool,
    before: Mapping[str, Any],
    fail_fast: bool,
) -> int:
    """Decide what becomes of a run that is not done; the exit code.

    Args:
        run: its folder.
        task: this one.
        code: of the training.
        was_asked: whether a signal asked it to stop.
        before: the status before it started.
        fail_fast: as of `train_on_node`.
    """
    stopped = run.state == State.RESUMABLE and run.status() != before
    if was_asked or stopped:
        excuse_start(run)
        return _try_again(run, task.job_id)
    failure = _explain(run, code, before)
    if failure.kind == FailureClass.NODE and task.num_tasks > 1:
        time.sleep(_OTHERS_SECONDS)  # another task may know why it left
        failure = _explain(run, code, before)
    if failure.kind == FailureClass.NODE:
        return _try_again(run, task.job_id)
    return _fail(run, code, failure, fail_fast)


def _try_again(run: RunFolder, job_id: str) -> int:
    """Back into the queue; where that is forbidden, until it is submitted again."""
    if not (cluster.may_requeue(job_id) and cluster.requeue(job_id)):
        with suppress(UserError), run.held():  # or another process trains it
            if run.state == State.RUNNING:
                run.set_status(State.RESUMABLE, run.status()["step"])
    return TRY_AGAIN


def _fail(run: RunFolder, code: int, failure: Failure, fail_fast: bool) -> int:
    try:
        with run.held():
            _set_failed(run, failure)
    except UserError:  # another process trains it, and knows better
        return TRY_AGAIN
    if fail_fast:
        cluster.cancel_waiting(_submissions_of_this_sweep(run))
    return code if code > 0 else 1


def _set_failed(run: RunFolder, failure: Failure) -> None:
    run.set_failed(run.status().get("step", 0), failure)


def _submissions_of_this_sweep(run: RunFolder) -> set[str]:
    """Names of jobs, as `submit.py` writes them down."""
    job = job_of(run)
    names = {record.stem for record in job.records.glob("*.json")} if job else set()
    return {os.environ["SLURM_JOB_NAME"], *names}


def _release_siblings(run: RunFolder) -> None:
    names = _submissions_of_this_sweep(run)
    with suppress(RunError):  # no squeue or no scontrol on this node: the next command does it
        cluster.release_held_back(job for job in cluster.queue().values() if job.name in names)


def _explain(run: RunFolder, code: int, before: Mapping[str, Any]) -> Failure:
    """Why it failed: as its process wrote it down, unless the kernel killed that, or as it ended.

    Args:
        run: its folder.
        code: of the training.
        before: the status before it started.
    """
    if code < 0 and _ran_out_of_memory():
        return _killed_for_memory(code)
    if run.status() != before and (written := run.failure()):
        return written
    if code < 0:
        name = signal.Signals(-code).name
        return Failure(FailureClass.NODE, f"killed without warning ({name})")
    failure = failure_of_exit(code, run.last_words())
    if code == UserError.exit_code and run.is_held():  # the job before this one is still leaving
        return Failure(FailureClass.NODE, failure.message)
    return failure


def _killed_for_memory(code: int) -> Failure:
    name = signal.Signals(-code).name
    return Failure(FailureClass.OUT_OF_MEMORY, f"the node's memory was used up ({name})")


def _ran_out_of_memory() -> bool:
    """Whether the kernel killed a process of this job's control group for its memory."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            events = CONTROL_GROUPS / path.strip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            events = CONTROL_GROUPS / "memory" / path.strip("/") / "memory.oom_control"
        else:
            continue
        with suppress(OSError):
            counts = dict(line.split() for line in events.read_text().splitlines())
            if int(counts.get("oom_kill", 0)):
                return True
    return False
