"""What runs on a node: trains one run, goes back into the queue, explains what failed.

SLURM starts this once a task; launch.py, in the snapshot of the code, is a process below it. USR2
and TERM are passed on until it has saved and left. Then the first task says what becomes of the
run:

- stopped by a signal, or killed without warning: back into the queue, where the site allows that;
- failed: the class of the failure and its last line, in status.json;
- done: nothing more.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from submitit import JobEnvironment
from submitit.helpers import TorchDistributedEnvironment

from adaspan.errors import UserError
from adaspan.run_folder import RunFolder
from adaspan.slurm import cluster

# A run that is killed so often before it has saved anything new will not do better the next time.
MOST_KILLS_IN_VAIN = 5
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
    is_first = task.global_rank == 0
    in_vain = run.count_start(os.environ["SLURM_JOB_NAME"]) if is_first else 0
    code, told = _train(run, Path(program))
    if code == 0:
        return
    if not is_first:
        raise SystemExit(code if code > 0 else 1)
    raise SystemExit(_settle(run, task.job_id, code, told, in_vain, fail_fast))


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
    run: RunFolder, job_id: str, code: int, told: bool, in_vain: int, fail_fast: bool
) -> int:
    """Decide what becomes of a run that is not done; the exit code."""
    status = run.status()
    if told or status.get("state") == "resumable":
        return _try_again(run, job_id)
    kind, message = _explain(run, code)
    if kind == "node" and in_vain < MOST_KILLS_IN_VAIN:
        return _try_again(run, job_id)
    if kind == "node":
        message += f", {in_vain} times without getting further"
    try:
        with run.held():  # or another process trains it, and knows better
            run.set_status("failed", status.get("step", 0), error=kind, message=message)
    except UserError:
        return code
    if fail_fast:
        cluster.cancel_waiting(os.environ["SLURM_JOB_NAME"])
    return code if code > 0 else 1


def _try_again(run: RunFolder, job_id: str) -> int:
    if cluster.may_requeue(job_id):
        cluster.requeue(job_id)
    # If not, the run stays as it is until it is submitted again.
    return 75  # EX_TEMPFAIL


def _explain(run: RunFolder, code: int) -> tuple[str, str]:
    """Class and last line of a failure."""
    if code < 0:
        name = signal.Signals(-code).name
        if _ran_out_of_memory():
            return "out of memory", f"the node's memory was used up ({name})"
        return "node", f"killed without warning ({name})"
    status = run.status()
    if status.get("state") == "failed":
        return status["error"], status["message"]
    message = run.last_words()
    if code == UserError.exit_code:
        return ("data" if message.startswith("data") else "configuration"), message
    return "code", message


def _ran_out_of_memory() -> bool:
    """Whether the kernel killed a process of this job's control group for its memory."""
    try:
        own = Path("/proc/self/cgroup").read_text().splitlines()[-1].partition("::")[2]
        events = (CONTROL_GROUPS / own.strip("/") / "memory.events").read_text()
    except OSError:
        return False
    return any(
        line.startswith("oom_kill ") and line != "oom_kill 0" for line in events.splitlines()
    )
