"""Two processes train as one: the same losses, one run folder, all leave at the same step."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adaspan.errors import reported_in_one_line
from adaspan.train.distributed import joined
from tests.conftest import ROOT, environment
from tests.processes import final_state, rows, status, step_so_far, train_here

pytestmark = pytest.mark.slow

# This checkout's code, for programs that lie elsewhere, too.
_PATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def torchrun(*overrides: str) -> list[str]:
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return [*program, str(ROOT / "launch.py"), *overrides]


def run_two(tmp_path: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Two processes, as torchrun starts them, waited for."""
    return subprocess.run(
        torchrun(*overrides),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def start_two(tmp_path: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """The same, not waited for; what they print goes to `output`."""
    with (tmp_path / "output").open("w") as output:
        return subprocess.Popen(
            torchrun(*overrides),
            cwd=tmp_path,
            env=environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def start_ranks(
    tmp_path: Path,
    *overrides: str,
    second: tuple[str, ...] = (),
    program: Path = ROOT / "launch.py",
) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """Two processes as SLURM starts them, each told its rank; the second with more overrides.

    What they print goes to `output`; errors are piped.
    """
    (tmp_path / "output").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}

    def start(rank: int) -> subprocess.Popen[str]:
        with (tmp_path / "output").open("a") as output:
            return subprocess.Popen(
                [sys.executable, str(program), *overrides, *(second if rank else ())],
                cwd=tmp_path,
                env=environment(**together, RANK=str(rank), PYTHONPATH=_PATH),
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )

    return start(0), start(1)


def run_ranks(tmp_path: Path, *overrides: str) -> str:
    """The same, waited for until both have ended well; what they printed."""
    both = start_ranks(tmp_path, *overrides)
    try:
        for process in both:
            errors = process.communicate(timeout=120)[1]
            assert process.returncode == 0, errors
    finally:
        for process in both:
            process.kill()
            process.communicate()
    return (tmp_path / "output").read_text()


@pytest.mark.parametrize(("span", "tracking"), [("adaptive", "offline"), ("dynamic", "disabled")])
def test_two_processes_have_the_losses_of_one(
    tiny: tuple[str, ...],
    tmp_path: Path,
    run_folder: Callable[[], Path],
    span: str,
    tracking: str,
) -> None:
    plain = [o for o in tiny if not o.startswith(("span.", "model.dropout"))]
    # Not Adagrad: its first steps turn the rounding of a gradient near 0 into a whole step.
    sgd = ("optimizer=sgd", "optimizer.lr=0.5")
    overrides = [*plain, f"span={span}", "span.limit=24", *sgd, f"tracking={tracking}"]
    train_here(*overrides, f"output_dir={tmp_path / 'one'}")
    output = run_ranks(tmp_path, *overrides)
    (one,) = (tmp_path / "one").iterdir()
    two = run_folder()
    assert two.name == one.name
    for ours, theirs in zip(rows(two), rows(one), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-3)
    assert len(list(two.glob("wandb/offline-run-*"))) == (tracking == "offline")
    assert output.count("step 60/60") == 1


def test_two_processes_leave_at_the_same_step_and_go_on_bit_equal(
    tiny: tuple[str, ...], tmp_path: Path, run_folder: Callable[[], Path]
) -> None:
    overrides = [*tiny, "train.steps=100"]
    run_ranks(tmp_path, *overrides, f"output_dir={tmp_path / 'undisturbed'}")
    (undisturbed,) = (tmp_path / "undisturbed").iterdir()

    process = start_two(tmp_path, *overrides)
    while step_so_far(tmp_path) < 30:
        assert process.poll() is None, (tmp_path / "output").read_text()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=60)
    assert status(run_folder())["state"] == "resumable"
    assert status(run_folder())["step"] < 100

    assert "going on from step" in run_ranks(tmp_path, *overrides)
    assert rows(run_folder()) == rows(undisturbed)
    ours, theirs = final_state(run_folder()), final_state(undisturbed)
    for name, weight in theirs["model"].items():
        assert ours["model"][name].equal(weight), name


def test_two_processes_leave_in_the_middle_of_the_final_evaluation(
    tiny: tuple[str, ...], tmp_path: Path, run_folder: Callable[[], Path], text: Path
) -> None:
    text.write_text(text.read_text() * 200)
    short = ("train.steps=5", "train.eval_fraction=0.01")
    both = start_ranks(tmp_path, *tiny, *short)
    while "scoring the weights" not in (output := (tmp_path / "output").read_text()):
        assert both[0].poll() is None, output
        time.sleep(0.01)
    for process in both:
        process.send_signal(signal.SIGTERM)
    for process in both:
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 128 + signal.SIGTERM
    assert status(run_folder())["state"] == "resumable"
    assert "stopped at step 5, all saved" in (tmp_path / "output").read_text()

    run_ranks(tmp_path, *tiny, *short)
    assert status(run_folder())["state"] == "done"


def test_a_run_that_loses_one_of_its_processes_says_so_and_can_go_on(
    tiny: tuple[str, ...], tmp_path: Path, run_folder: Callable[[], Path]
) -> None:
    first, second = start_ranks(tmp_path, *tiny, "train.steps=3000")
    while step_so_far(tmp_path) < 30:
        assert first.poll() is None
        time.sleep(0.01)
    second.kill()
    second.communicate()
    (line,) = first.communicate(timeout=60)[1].splitlines()
    assert "the processes of this run lost one another" in line
    assert first.returncode == os.EX_TEMPFAIL
    assert status(run_folder())["error"] == "node"


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_does_not_wait_for_ever_for_others_that_never_come(
    rank: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where all that torchrun sets was left in a shell."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    alone = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for key, value in alone.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("adaspan.train.distributed._PATIENCE_SECONDS", 0.2)
    with (
        pytest.raises(SystemExit) as end,
        reported_in_one_line(of_a_run=True),
        joined(torch.device("cpu"), dict, join_seconds=0.5),
    ):
        pass
    assert end.value.code == os.EX_TEMPFAIL
    waits, error = capsys.readouterr().err.splitlines()
    others = f"the 1 other of 2 processes at 127.0.0.1:{port}"
    way_out = "; for a run of one process: unset RANK WORLD_SIZE"
    assert waits == f"adaspan: waiting for {others}{way_out}"
    assert error.startswith(f"adaspan: error: did not meet {others} (")
    assert error.endswith(way_out)


def test_a_batch_that_cannot_be_shared_out_is_refused_once(
    tiny: tuple[str, ...], tmp_path: Path
) -> None:
    end = run_two(tmp_path, *tiny, "train.batch_size=5", "train.micro_batches=1")
    assert end.returncode != 0
    assert end.stderr.count("train.batch_size=5: must be divisible by the 2 processes") == 1


def test_why_another_process_left_is_what_the_run_failed_of(
    tiny: tuple[str, ...], tmp_path: Path, run_folder: Callable[[], Path]
) -> None:
    program = tmp_path / "second_needs_too_much.py"
    program.write_text(
        f"""
import os, runpy, torch
from adaspan.train.trainer import Trainer
update = Trainer.update
def hungry(trainer):
    if os.environ["RANK"] == "1" and trainer.step == 20:
        torch.empty(2**46)
    update(trainer)
Trainer.update = hungry
runpy.run_path({str(ROOT / "launch.py")!r}, run_name="__main__")
"""
    )
    both = start_ranks(tmp_path, *tiny, program=program)
    assert "out of memory on the CPU" in "".join(
        process.communicate(timeout=60)[1] for process in both
    )
    assert all(process.returncode for process in both)
    assert status(run_folder())["error"] == "out of memory"
    assert status(run_folder())["step"] == 20


@pytest.mark.slow
def test_a_sweep_is_not_multiplied_by_torchrun(tiny: tuple[str, ...], tmp_path: Path) -> None:
    end = run_two(tmp_path, "-m", *tiny, "train.seed=1,2")
    errors = [line for line in end.stderr.splitlines() if line.startswith("adaspan: error: ")]
    (line,) = errors
    assert "-m: a sweep starts its runs itself, but torchrun has started it 2 times" in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("other", ["configuration", "text"])
def test_two_processes_that_were_given_different_things_both_refuse(
    other: str, tiny: tuple[str, ...], text: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "local" / text.name
    copy.parent.mkdir()
    copy.write_bytes(text.read_bytes().replace(b"plus", b"less"))
    own_data = f"data_dir={tmp_path / 'data of the second'}"
    given, key = {
        "configuration": (("train.log_every=5",), "train.log_every: 3 in process 0 on "),
        "text": ((f"data.path={copy}", own_data), "data: sha256 "),
    }[other]
    first, second = start_ranks(tmp_path, *tiny, second=given)
    (line,) = first.communicate(timeout=60)[1].splitlines()
    assert second.communicate(timeout=60)[1] == "", "told once"
    assert (first.returncode, second.returncode) == (2, 2)
    assert line.startswith(f"adaspan: error: {key}")
    assert " in process 1 on " in line
    assert line.endswith("; all processes of a run need the same")
    assert not (tmp_path / "runs").exists(), "nothing was begun"


def test_each_process_may_have_its_own_copy_of_the_text(
    tiny: tuple[str, ...], text: Path, tmp_path: Path, run_folder: Callable[[], Path]
) -> None:
    copy = tmp_path / "local" / text.name
    copy.parent.mkdir()
    copy.write_bytes(text.read_bytes())
    given = (f"data.path={copy}", f"data_dir={tmp_path / 'data of the second'}")
    for process in start_ranks(tmp_path, *tiny, "train.steps=4", second=given):
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
    assert status(run_folder())["state"] == "done"
