"""What becomes of a run whose process on the node ended without being done."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.slurm import job
from adaspan.slurm.job import MOST_FRUITLESS_STARTS, STARTED, train_on_node
from adaspan.slurm.job_record import count_start

pytestmark = pytest.mark.slow

JOB = {
    "SUBMITIT_EXECUTOR": "slurm",
    "SLURM_JOB_ID": "17",
    "SLURM_JOB_NAME": "sweep.0123ab",
    "SLURM_NTASKS": "1",
    "SLURM_JOB_NUM_NODES": "1",
    "SLURM_NODEID": "0",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_JOB_NODELIST": "n1",
    "PATH": "/nowhere",  # no scontrol on this node
}
SELF = "import os, signal, sys\n"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that was under way."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.set_status(State.RUNNING, 7)
    return folder


@pytest.fixture
def train(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], int]]:
    """Trains the run with a program in place of launch.py, inside a job; its exit code."""
    for key, value in JOB.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv(STARTED, str(tmp_path / "started"))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}

    def train(source: str) -> int:
        program = tmp_path / "launch.py"
        program.write_text(SELF + source)
        try:
            train_on_node(str(run.path), str(program), fail_fast=False, repeat_seconds=0.1)
        except SystemExit as end:
            return int(str(end.code))
        return 0

    yield train
    for number, handler in handlers.items():
        signal.signal(number, handler)


Train = Callable[[str], int]


def test_a_run_that_is_done_is_left_alone(train: Train, run: RunFolder) -> None:
    assert train("print(sys.argv[1:])") == 0
    assert run.last_words() == str(["--config-path", str(run.path), "--config-name", "config"])


def writes_status(run: RunFolder, status: dict[str, object]) -> str:
    """Part of a program: the run's last word."""
    return f"open({str(run.path / 'status.json')!r}, 'w').write({json.dumps(status)!r})\n"


def test_a_stopped_run_is_to_be_tried_again(train: Train, run: RunFolder) -> None:
    stopped = writes_status(run, {"state": "resumable", "step": 9})
    assert train(f"{stopped}sys.exit(140)") == 75
    assert run.status()["state"] == "resumable"


def test_what_an_earlier_job_of_the_run_said_does_not_count(train: Train, run: RunFolder) -> None:
    run.set_status(State.RESUMABLE, 9)
    assert train("sys.exit('ImportError: no module named spam')") == 1
    assert run.status()["error"] == "code"
    assert run.status()["message"] == "ImportError: no module named spam"
    assert train("sys.exit('KeyError: 7')") == 1
    assert run.status()["message"] == "KeyError: 7"


def test_a_signal_is_passed_on_until_the_run_has_left(train: Train, run: RunFolder) -> None:
    source = f"""
import time
told = []
signal.signal(signal.SIGUSR2, lambda *_: told.append(1))
os.kill({os.getpid()}, signal.SIGUSR2)
while len(told) < 2:
    time.sleep(0.01)
print("told again")
sys.exit(1)
"""
    assert train(source) == 75
    assert run.last_words() == "told again"


def test_a_signal_that_comes_before_the_run_has_begun_is_heard(
    train: Train, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(folder: RunFolder, job_name: str) -> int:
        os.kill(os.getpid(), signal.SIGUSR2)
        return count_start(folder, job_name)

    monkeypatch.setattr("adaspan.slurm.job.count_start", slowly)
    assert train("print('trains')") == 75
    assert run.last_words() == "no message"


@pytest.mark.parametrize(
    ("output", "code", "kind"),
    [
        ("adaspan: error: span.limit=0: must be at least 1", 2, "configuration"),
        ("adaspan: error: data.path=gone.txt: no such file", 2, "data"),
        ("Traceback ...\nKeyError: 'spam'", 1, "code"),
    ],
)
def test_a_failure_has_a_class_and_a_last_line(
    train: Train, run: RunFolder, output: str, code: int, kind: str
) -> None:
    assert train(f"print({output!r}, file=sys.stderr); sys.exit({code})") == code
    status = run.status()
    assert (status["state"], status["error"]) == ("failed", kind)
    assert output.endswith(status["message"])


def test_what_the_run_itself_said_of_its_failure_is_kept(train: Train, run: RunFolder) -> None:
    failed = {"state": "failed", "step": 7, "error": "non-finite", "message": "the loss is nan"}
    assert train(f"{writes_status(run, failed)}sys.exit(1)") == 1
    assert run.status()["error"] == "non-finite"


def test_a_kill_is_tried_again_until_it_is_in_vain(train: Train, run: RunFolder) -> None:
    killed = "os.kill(os.getpid(), signal.SIGKILL)"
    for _ in range(MOST_FRUITLESS_STARTS):
        assert train(killed) == 75
        assert run.status()["state"] == "resumable", "nobody could put it back into the queue"
    run.checkpoints.mkdir()
    (run.checkpoints / "step_00000008.pt").touch()
    for _ in range(MOST_FRUITLESS_STARTS):
        assert train(killed) == 75, "it got further"
    run.set_status(State.RUNNING, 9)  # a step that was logged, but is in no checkpoint
    assert train("print('not even started')") == 1
    assert run.status()["error"] == "node"
    assert run.status()["message"] == "ended without a message 5 times since the last checkpoint"
    assert run.last_words() != "not even started"


def test_a_run_whose_processes_lost_one_another_is_tried_again(
    train: Train, run: RunFolder
) -> None:
    assert train("print('lost'); sys.exit(os.EX_TEMPFAIL)") == 75
    assert run.status()["state"] == "resumable"


def test_a_run_that_is_asked_to_leave_again_and_again_does_not_fail(
    train: Train, run: RunFolder
) -> None:
    message = f"os.kill({os.getpid()}, signal.SIGTERM); import time; time.sleep(60)"
    for _ in range(MOST_FRUITLESS_STARTS + 2):
        assert train(message) == 75


def test_a_kill_for_memory_is_named(
    train: Train, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel says of it, test_control_group.py shows."""
    monkeypatch.setattr(job, "ran_out_of_memory", lambda: True)
    assert train("os.kill(os.getpid(), signal.SIGKILL)") == 1, "not tried again"
    assert run.status()["error"] == "out of memory"


def test_a_process_computes_with_the_cores_it_was_given(
    train: Train, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    assert train("print(os.environ['OMP_NUM_THREADS'])") == 0
    assert run.last_words() == "3"


def test_the_program_is_started_by_the_same_python(train: Train, run: RunFolder) -> None:
    assert train("print(sys.executable)") == 0
    assert run.last_words() == sys.executable
