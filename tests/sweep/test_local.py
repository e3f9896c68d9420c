"""A sweep on one machine: checked as a whole, each run once, a failure alone, nothing lost."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from adaspan.errors import RunError, UserError
from adaspan.status.find import typed_words_of
from adaspan.sweep.local import train_all
from adaspan.sweep.plan import plan, prepare_data
from tests.conftest import Launch, command, compose_run, environment
from tests.processes import (
    assert_same,
    final_state,
    kill,
    rows,
    start,
    status,
    train_here,
    wait_until,
)

pytestmark = pytest.mark.slow

Tiny = tuple[str, ...]


@pytest.fixture
def quick(tiny: Tiny) -> Tiny:
    """A sweep's common overrides."""
    return ("-m", *tiny, "train.steps=20")


def folders(tmp_path: Path) -> list[Path]:
    return sorted(path.parent for path in (tmp_path / "runs").glob("*/status.json"))


def states(tmp_path: Path) -> list[str]:
    return [status(folder)["state"] for folder in folders(tmp_path)]


def manifest_of(tmp_path: Path) -> dict[str, dict[str, str]]:
    (path,) = (tmp_path / "runs" / "sweeps").glob("*/manifest.json")
    runs: dict[str, dict[str, str]] = json.loads(path.read_text())["runs"]
    return runs


def test_every_mistake_of_every_run_is_told_before_anything_starts(
    quick: Tiny, launch_here: Launch, tmp_path: Path
) -> None:
    end = launch_here(*quick, "span.limit=24,0", "model.heads=2,3", "train.batch_size=0")
    assert end.returncode == 2
    assert end.stderr.splitlines() == [
        "adaspan: error: train.batch_size=0: must be at least 1",
        "adaspan: error: span.limit=0: must be at least 1 "
        "(model.heads=2 span.limit=0; model.heads=3 span.limit=0)",
        "adaspan: error: model.heads=3: must divide model.dim=16; one of 1, 2, 4, 8, 16 "
        "(model.heads=3 span.limit=24; model.heads=3 span.limit=0)",
    ]
    assert not (tmp_path / "runs").exists()


def test_runs_are_as_they_would_be_alone_and_done_once(
    quick: Tiny, launch_here: Launch, tmp_path: Path
) -> None:
    words = (*quick, "train.seed=1,2", "hydra.launcher.processes=2")
    end = launch_here(*words)
    assert end.returncode == 0, end.stderr
    assert states(tmp_path) == ["done", "done"]
    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    assert typed_words_of(tmp_path / "runs", sweep.name) == [*words]
    alone = tmp_path / "alone"
    common = [o for o in quick if o != "-m" and not o.startswith("output_dir")]
    train_here(*common, "train.seed=2", f"output_dir={alone}")
    (expected,) = alone.iterdir()
    found = tmp_path / "runs" / expected.name
    assert rows(found) == rows(expected)
    assert_same(final_state(found), final_state(expected))

    config = (found / "config.yaml").stat().st_ino
    again = launch_here(*quick, "train.seed=1,2,3")
    assert again.returncode == 0, again.stderr
    assert "3 runs, 2 done already" in again.stdout
    assert again.stdout.count("start ") == 1
    assert (found / "config.yaml").stat().st_ino == config, "what is done is left alone"
    assert sorted(run["train.seed"] for run in manifest_of(tmp_path).values()) == ["1", "2", "3"]


def test_the_longer_of_two_runs_continues_the_shorter_one(
    quick: Tiny, launch_here: Launch, tmp_path: Path
) -> None:
    end = launch_here(*quick, "train.steps=12,9")
    assert end.returncode == 0, end.stderr
    outputs = {path: (path / "output.txt").read_text() for path in folders(tmp_path)}
    (shorter,) = (path for path, output in outputs.items() if "continues" not in output)
    (longer,) = (output for path, output in outputs.items() if path != shorter)
    assert f"continues {shorter.name} (train.steps=9) from step 9\n" in longer


def test_a_text_that_is_edited_during_a_sweep_ends_only_the_runs_to_come(
    quick: Tiny, text: Path, tmp_path: Path
) -> None:
    words = command(*quick, "train.seed=1,2")
    with subprocess.Popen(
        words,
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("done    train.seed=1 · valid "):
                text.write_text(text.read_text() + "one more line\n")
        error = process.stderr.read()
    assert error == "adaspan: error: 1 of 2 runs failed; the same command tries them again\n"
    (failed,) = (line for line in lines if line.startswith("failed  train.seed=2 · "))
    assert "data.path=" in failed
    assert "has changed since the run was begun" in failed
    assert process.returncode == RunError.exit_code


def test_a_text_that_is_edited_while_a_sweep_is_prepared_is_told(tiny: Tiny, text: Path) -> None:
    sweep = plan([["train.seed=1"]], lambda given: compose_run(*tiny, *given), "multirun")
    text.write_text(text.read_text() + "one more line\n")
    with pytest.raises(UserError, match="has changed while it was read; type the command again"):
        prepare_data(sweep)


def test_a_failure_is_told_and_does_not_end_the_others(
    quick: Tiny, launch_here: Launch, tmp_path: Path
) -> None:
    values = "optimizer.lr=1e30,0.01"
    end = launch_here(*quick, values)
    assert end.returncode == 1
    assert sorted(states(tmp_path)) == ["done", "failed"]
    (line,) = (line for line in end.stdout.splitlines() if line.startswith("failed"))
    assert "optimizer.lr=1e30" in line.replace("1e+30", "1e30")
    assert "the loss is" in line
    assert "output.txt" in line
    assert "1 of 2 runs failed" in end.stderr
    assert "Traceback" not in end.stderr

    fast = launch_here(*quick, "optimizer.lr=1e30,0.03", "hydra.launcher.fail_fast=true")
    assert fast.returncode == 1
    assert fast.stdout.count("start ") == 1


@pytest.mark.parametrize(("allowed", "given"), [("", {"0", "1"}), ("3,5", {"3", "5"})])
def test_of_several_runs_at_once_each_has_a_gpu_of_those_that_are_allowed(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: str, given: set[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)  # a machine that CI has not
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    program = tmp_path / "launch.py"
    program.write_text("import os, sys; sys.exit(os.environ['CUDA_VISIBLE_DEVICES'])")
    seeds = [["train.seed=1"], ["train.seed=2"]]
    common = (*tiny, "train.device=auto")
    sweep = plan(seeds, lambda overrides: compose_run(*common, *overrides), "seeds")
    with pytest.raises(RunError, match="2 of 2 runs failed"):
        train_all(sweep, prepare_data(sweep), program, processes=None, fail_fast=False)
    assert {job.folder.last_words() for job in sweep.jobs} == given


def test_a_stopped_sweep_saves_and_goes_on(
    quick: Tiny, tmp_path: Path, launch_here: Launch
) -> None:
    longer = (*quick, "train.steps=200", "train.eval_every=50", "train.micro_batches=1")
    longer = (*longer, "train.seed=1,2", "hydra.launcher.processes=2")
    process = start(tmp_path, *longer)

    def both_train() -> bool:
        return states(tmp_path) == ["running", "running"]

    assert wait_until(both_train, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert states(tmp_path) == ["resumable", "resumable"]

    end = launch_here(*longer)
    assert end.returncode == 0, end.stderr
    assert states(tmp_path) == ["done", "done"]
    for folder in folders(tmp_path):
        steps = [row["step"] for row in rows(folder) if "valid/bpb" in row]
        assert steps == [50, 100, 150, 200]


def test_what_a_killed_sweep_left_training_is_left_alone(
    quick: Tiny, tmp_path: Path, launch_here: Launch
) -> None:
    long = (*quick, "train.steps=1000", "train.eval_every=500", "train.micro_batches=1")
    killed = start(tmp_path, *long, "train.seed=1")
    assert wait_until(lambda: states(tmp_path) == ["running"], killed)
    kill(killed)
    end = launch_here(*long, "train.seed=1")
    assert end.returncode == 0, end.stderr
    assert "another process trains it" in end.stdout
    assert "start " not in end.stdout
    deadline = time.monotonic() + 60
    while states(tmp_path) != ["done"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_sweep_can_be_started_over(quick: Tiny, launch_here: Launch, tmp_path: Path) -> None:
    train_here(*quick[1:], "train.seed=1")
    (folder,) = folders(tmp_path)
    (folder / "metrics.jsonl").unlink()
    end = launch_here(*quick, "train.seed=1", "train.restart=true")
    assert end.returncode == 0, end.stderr
    assert end.stdout.count("start ") == 1
    assert len(rows(folder)) > 1
