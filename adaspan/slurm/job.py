"""What runs on a node: trains one run, goes back into the queue, explains what failed.

SLURM starts this once a task; launch.py, in the snapshot of the code, is a process below it. USR2
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
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from submitit import JobEnvironment
from submitit.helpers import TorchDistributedEnvironment

from adaspan.errors import LostPeerError, RunError, UserError
from adaspan.run_folder import RunFolder
from adaspan.slurm import cluster

# A job that ends so often before its run has saved anything new will not do better the next time.
MOST_IN_VAIN = 5
# Names a file, which says that a job got as far as this.
STARTED = "ADASPAN_STARTED"
_TRY_AGAIN = os.EX_TEMPFAIL
# Between repetitions of a signal, which a process that is still starting may miss.
_REPEAT_SECONDS = 1.0
CONTROL_GROUPS = Path("/sys/fs/cgroup")


def train_on_node(folder: str, program: str, fail_fast: bool) -> None:
    """Train the run of a folder until it is done or has to leave.

    Args:
        folder: run folder, which holds its configuration.
        program: the snapshot's launch.py.
        fail_fast: if it fails, take the waiting jobs of the same submission out of the queue.

    Raises:
        SystemExit: the run is not done: 1 or 2 as of launch.py, 75 if it is to be tried again.
    """
    task = JobEnvironment()
    run = RunFolder(Path(folder))
    if task.num_tasks > 1:
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    if task.global_rank > 0:
        code, _ = _train(run, Path(program))
        raise SystemExit(code if code >= 0 else 1)
    Path(os.environ[STARTED]).touch()
    if run.count_start(os.environ["SLURM_JOB_NAME"]) >= MOST_IN_VAIN:
        message = f"ended {MOST_IN_VAIN} times without a word since the last checkpoint"
        raise SystemExit(_fail(run, 1, "node", message, fail_fast))
    before = run.status()
    code, told = _train(run, Path(program))
    if not told:
        _release_siblings(run)
    if code:
        after = run.status()
        raise SystemExit(
            _settle(run, task.job_id, code, told, after if after != before else {}, fail_fast)
        )


def _train(run: RunFolder, program: Path) -> tuple[int, bool]:
    """Exit code of launch.py, negative if a signal killed it; whether a signal asked to stop."""
    command = [sys.executable, str(program)]
    command += ["--config-path", str(run.path.resolve()), "--config-name", "config"]
    with run.output.open("ab") as output, _asked_to_stop() as asked:
        environment = {**os.environ, **_threads()}
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        while True:
            try:
                return process.wait(_REPEAT_SECONDS), bool(asked)
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
    return {"OMP_NUM_THREADS": cores} if cores and "OMP_NUM_THREADS" not in os.environ else {}


def _settle(
    run: RunFolder, job_id: str, code: int, told: bool, said: Mapping[str, Any], fail_fast: bool
) -> int:
    """Decide what becomes of a run that is not done; the exit code.

    `said` is the status that launch.py wrote, empty if it wrote none this time.
    """
    if told or said.get("state") == "resumable":
        run.excuse_start()
        return _try_again(run, job_id)
    kind, message = _explain(run, code, said)
    if kind == "node":
        return _try_again(run, job_id)
    return _fail(run, code, kind, message, fail_fast)


def _try_again(run: RunFolder, job_id: str) -> int:
    """Back into the queue; where that is forbidden, until it is submitted again."""
    if not (cluster.may_requeue(job_id) and cluster.requeue(job_id)):
        with suppress(UserError), run.held():  # or another process trains it
            status = run.status()
            if status.get("state") == "running":
                run.set_status("resumable", status["step"])
    return _TRY_AGAIN


def _fail(run: RunFolder, code: int, kind: str, message: str, fail_fast: bool) -> int:
    try:
        with run.held():
            run.set_status("failed", run.status().get("step", 0), error=kind, message=message)
    except UserError:  # another process trains it, and knows better
        return _TRY_AGAIN
    if fail_fast:
        cluster.cancel_waiting(_submissions_of_this_sweep(run))
    return code if code > 0 else 1


def _submissions_of_this_sweep(run: RunFolder) -> set[str]:
    """Names of jobs, as `submit.py` writes them down."""
    sweep = os.environ["SLURM_JOB_NAME"].rpartition(".")[0]
    records = (run.path.parent / "sweeps" / sweep / "slurm").glob("*.json")
    return {os.environ["SLURM_JOB_NAME"], *(record.stem for record in records)}


def _release_siblings(run: RunFolder) -> None:
    names = _submissions_of_this_sweep(run)
    with suppress(RunError):  # no squeue or no scontrol on this node: the next command does it
        cluster.release_held_back(job for job in cluster.queue().values() if job.name in names)


def _explain(run: RunFolder, code: int, said: Mapping[str, Any]) -> tuple[str, str]:
    """Class and last line of a failure."""
    if code < 0:
        name = signal.Signals(-code).name
        if _ran_out_of_memory():
            return "out of memory", f"the node's memory was used up ({name})"
        return "node", f"killed without warning ({name})"
    if said.get("state") == "failed":
        return said["error"], said["message"]
    message = run.last_words()
    if code == LostPeerError.exit_code:
        return "node", message
    if code == UserError.exit_code:
        if run.is_held():
            return "node", message  # the job before this one is still leaving
        return ("data" if message.startswith("data") else "configuration"), message
    return "code", message


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
