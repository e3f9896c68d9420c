"""What a run records, and every way in which it can be interrupted or can fail."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import re
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from adaspan.errors import RunError
from adaspan.nn.attention import ANYWHERE
from adaspan.runs import figures
from adaspan.runs.figures.rows import head_span_key, head_spans
from adaspan.runs.measures import BPB, BPC, PPL
from adaspan.train.evaluate import Score, evaluate
from tests.conftest import Launch, command, environment
from tests.processes import (
    FindFolder,
    assert_same,
    final_state,
    kill,
    rows,
    start,
    status,
    step_so_far,
    train_here,
    wait_for_step,
)
from tests.tracking.test_run import steps as tracked_steps


def test_a_run_killed_at_random_ends_as_if_undisturbed(
    tiny: tuple[str, ...], launch: Launch, tmp_path: Path, run_folder: FindFolder
) -> None:
    overrides = [*tiny, "train.steps=150", "tracking=offline"]
    train_here(*overrides, f"output_dir={tmp_path / 'undisturbed'}")
    (undisturbed,) = (tmp_path / "undisturbed").iterdir()

    moments = random.Random(1)
    for _ in range(3):
        process = start(tmp_path, *overrides)
        wait_for_step(tmp_path, step_so_far(tmp_path) + moments.randint(3, 30), process)
        time.sleep(moments.random() * 0.05)
        kill(process)
        assert process.returncode == -signal.SIGKILL, (tmp_path / "output").read_text()
    end = launch(*overrides)
    assert end.returncode == 0, end.stderr
    assert "going on from step" in end.stdout

    folder = run_folder()
    assert rows(folder) == rows(undisturbed)
    assert_same(final_state(folder), final_state(undisturbed))
    logged = [row["step"] for row in rows(folder)][:-1]  # the final row goes to the summary
    assert tracked_steps(folder) == logged


# Python itself would get an error instead.
KILLED_AT_THE_LIMIT_OF_A_FILE = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_a_run_killed_while_it_writes_a_checkpoint_ends_as_if_undisturbed(
    tiny: tuple[str, ...], tmp_path: Path, run_folder: FindFolder
) -> None:
    overrides = [*tiny, "model.dim=128", "train.checkpoint_every=2"]
    train_here(*overrides, f"output_dir={tmp_path / 'undisturbed'}")
    (undisturbed,) = (tmp_path / "undisturbed").iterdir()

    process = start(tmp_path, *overrides, program=KILLED_AT_THE_LIMIT_OF_A_FILE)
    wait_for_step(tmp_path, 10, process)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    assert process.wait(timeout=60) == -signal.SIGXFSZ
    folder = run_folder()
    (half,) = (folder / "checkpoints").glob("step_*.partial")
    size = half.stat().st_size  # more than the limit if some of it was written before that
    whole = max(path.stat().st_size for path in (folder / "checkpoints").glob("step_*.pt"))
    assert 100_000 <= size < whole
    train_here(*overrides)
    assert rows(folder) == rows(undisturbed)
    assert_same(final_state(folder), final_state(undisturbed))
    assert not list((folder / "checkpoints").glob("*.partial"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_signal_saves_at_the_next_step_and_leaves(
    tiny: tuple[str, ...], launch_here: Launch, tmp_path: Path, run_folder: FindFolder, number: int
) -> None:
    overrides = [*tiny, "train.steps=2000", "train.checkpoint_every=1000"]
    process = start(tmp_path, *overrides)
    assert wait_for_step(tmp_path, 21, process)
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    folder = run_folder()
    saved = final_state(folder)["step"]
    assert 20 < saved < 1000
    assert f"stopped at step {saved}, all saved" in (tmp_path / "output").read_text()
    assert status(folder)["state"] == "resumable"
    assert status(folder)["step"] == saved


@pytest.mark.slow
@pytest.mark.parametrize("evaluation", [2, 3, 4])
def test_a_signal_during_an_evaluation_loses_nothing(
    tiny: tuple[str, ...],
    tmp_path: Path,
    run_folder: FindFolder,
    monkeypatch: pytest.MonkeyPatch,
    evaluation: int,
) -> None:
    # Evaluations 1 to 3 are the quick ones, the third after the last step; 4 is the whole of valid.
    train_here(*tiny, f"output_dir={tmp_path / 'undisturbed'}")
    (undisturbed,) = (tmp_path / "undisturbed").iterdir()
    calls = 0

    def disturbed(*arguments: Any, **more: Any) -> Score:
        nonlocal calls
        calls += 1
        if calls == evaluation:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*arguments, **more)

    monkeypatch.setattr("adaspan.train.run_score.evaluate", disturbed)
    with pytest.raises(SystemExit) as end:
        train_here(*tiny, "train.checkpoint_every=1000")
    assert end.value.code == 128 + signal.SIGTERM
    assert status(run_folder())["step"] == final_state(run_folder())["step"]
    train_here(*tiny)
    assert rows(run_folder()) == rows(undisturbed)


@pytest.mark.slow
def test_a_resume_in_another_precision_is_refused_and_leaves_the_run_as_it_was(
    tiny: tuple[str, ...], launch_here: Launch, run_folder: FindFolder
) -> None:
    train_here(*tiny)
    status_file = run_folder() / "status.json"
    status_file.unlink()  # as if it had not been done
    newest = max((run_folder() / "checkpoints").glob("step_*.pt"))
    torch.save(final_state(run_folder()) | {"precision": "torch.bfloat16"}, newest)
    end = launch_here(*tiny)
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line.startswith("adaspan: error: train.precision=auto: gives float32 on cpu, but")
    assert "begun in bfloat16; use a device like that one" in line
    assert not status_file.exists()


@pytest.mark.slow
def test_a_diverging_run_fails_with_step_and_rate_and_keeps_its_checkpoint(
    tiny: tuple[str, ...], run_folder: FindFolder
) -> None:
    with pytest.raises(RunError, match=r"step \d+: .* \(learning rate .*\)") as error:
        train_here(
            *tiny,
            "optimizer=sgd",
            "optimizer.lr=1e20",
            "optimizer.grad_clip=0",
            "optimizer.warmup_steps=100000000",  # the first steps are small enough to be finite
            "train.checkpoint_every=1",
            "train.log_every=1",
        )
    folder = run_folder()
    assert status(folder)["state"] == "failed"
    assert status(folder)["message"] == str(error.value)
    assert all(p.isfinite().all() for p in final_state(folder)["model"].values())


def test_memory_that_does_not_suffice_is_one_line_with_a_way_out(
    tiny: tuple[str, ...], launch_here: Launch, run_folder: FindFolder
) -> None:
    end = launch_here(*tiny, "span.limit=1099511627776")  # 35 TB of positions
    assert end.returncode == 1
    (line,) = end.stderr.splitlines()
    assert line == (
        "adaspan: error: out of memory on the CPU (tried to allocate 35184372088832 bytes): "
        "lower span.limit or model.*"
    )
    assert status(run_folder())["error"] == "out of memory"


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_used(
    tiny: tuple[str, ...], launch_here: Launch, tmp_path: Path, run_folder: FindFolder
) -> None:
    train_here(*tiny, f"output_dir={tmp_path / 'undisturbed'}")
    (undisturbed,) = (tmp_path / "undisturbed").iterdir()
    process = start(tmp_path, *tiny)
    wait_for_step(tmp_path, 30, process)
    kill(process)
    folder = run_folder()
    newest = max((folder / "checkpoints").glob("step_*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    end = launch_here(*tiny)
    assert end.returncode == 0, end.stderr
    assert f"warning: {newest}: damaged" in end.stdout
    assert rows(folder) == rows(undisturbed)
    assert_same(final_state(folder), final_state(undisturbed))


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_run_whose_best_weights_are_gone_ends_on_its_last_and_says_so(
    tiny: tuple[str, ...],
    run_folder: FindFolder,
    capsys: pytest.CaptureFixture[str],
    damage: str,
) -> None:
    train_here(*tiny)
    folder = run_folder()
    best = folder / "checkpoints" / "best.pt"
    if damage == "missing":
        best.unlink()
    else:
        best.write_bytes(best.read_bytes()[:1000])
    (folder / "status.json").write_text(json.dumps({**status(folder), "state": "resumable"}))
    train_here(*tiny)
    (line,) = (text for text in capsys.readouterr().out.splitlines() if "best.pt" in text)
    assert damage in line
    assert "the weights of step 60 are taken for the best" in line
    assert status(folder)["state"] == "done"
    assert rows(folder)[-1]["best/step"] == 60


@pytest.mark.slow
def test_a_full_disk_is_one_clear_line_and_the_run_goes_on_when_there_is_room(
    tiny: tuple[str, ...], tmp_path: Path, run_folder: FindFolder
) -> None:
    train_here(*tiny, f"output_dir={tmp_path / 'undisturbed'}")
    (undisturbed,) = (tmp_path / "undisturbed").iterdir()
    process = start(tmp_path, *tiny)
    wait_for_step(tmp_path, 30, process)
    kill(process)
    before = sorted((run_folder() / "checkpoints").glob("step_*.pt"))
    full = subprocess.run(
        ["bash", "-c", 'ulimit -f 16; exec "$@"', "bash", *command(*tiny)],  # 16 kB a file
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert full.returncode == 1
    (line,) = full.stderr.splitlines()
    assert "File too large" in line
    assert "type the same command again" in line
    assert status(run_folder())["state"] == "failed"
    assert sorted((run_folder() / "checkpoints").glob("step_*.pt")) == before
    train_here(*tiny)
    assert rows(run_folder()) == rows(undisturbed)


def test_metrics_hold_what_a_researcher_looks_for(
    tiny: tuple[str, ...], run_folder: FindFolder
) -> None:
    train_here(*tiny)
    folder = run_folder()
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    *logged, final = (json.loads(line) for line in lines)
    evaluated = [row for row in logged if "valid/bpb" in row]
    assert [row["step"] for row in evaluated] == [20, 40, 60]
    for row in logged:
        assert {
            "tokens",
            "train/bpb",
            "train/learning_rate",
            "perf/tokens_per_second",
            "perf/memory_gb",
            "span/mean",
            "span/max",
            "flops/paper_macs_per_token",
            "flops/executed_per_token",
            "flops/executed_training",
        } <= row.keys()
    for row in evaluated:
        spans = [value for key, value in row.items() if key.startswith("span/layer_")]
        assert len(spans) == 4
        assert row["span/mean"] == pytest.approx(sum(spans) / 4)
        assert row["span/max"] == max(spans)
    assert final["best/valid_bpb"] == min(row["valid/bpb"] for row in evaluated)
    assert {"final/valid_bpb", "final/test_bpb"} <= final.keys()
    for row in (*logged, final):
        moment = "end" if row is final else "evaluation" if row in evaluated else "log"
        declared = {figure.key for figure in figures.declared() if moment in figure.rows}
        heads = {head_span_key(layer, head) for layer, head, _ in head_spans(row)}
        others = {score.key(other) for score in figures.SCORES for other in (BPC, PPL)}
        missing = {
            figures.MFU.key,  # a CPU's peak is not known
            figures.ENTROPY.key(BPB),  # of text that was written it is not known, either
            figures.SPAN_LOSS_COEFFICIENT.key,  # no budget is asked for
            *others,
        }
        assert row.keys() - heads == declared - missing
    assert status(folder)["state"] == "done"


@pytest.mark.slow
def test_the_part_of_a_known_peak_that_is_used_is_recorded(
    tiny: tuple[str, ...], run_folder: FindFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adaspan.train.rows.peak_flops", lambda *_: 1e12)  # a GPU that CI has not
    train_here(*tiny)
    lines = (run_folder() / "metrics.jsonl").read_text().splitlines()[:-1]
    logged = [json.loads(line) for line in lines]
    for before, row in itertools.pairwise(logged):
        tokens = row["tokens"] - before["tokens"]
        flops = row["flops/executed_training"] - before["flops/executed_training"]
        flops_per_second = flops / tokens * row["perf/tokens_per_second"]
        assert row["perf/mfu"] == pytest.approx(flops_per_second / 1e12)


@pytest.mark.slow
def test_a_profile_is_shown_and_kept_and_changes_nothing(
    tiny: tuple[str, ...],
    tmp_path: Path,
    run_folder: FindFolder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train_here(*tiny, f"output_dir={tmp_path / 'without'}")
    capsys.readouterr()
    train_here(*tiny, "train.profile=true")
    shown = capsys.readouterr().out
    folder, (without,) = run_folder(), (tmp_path / "without").iterdir()
    assert rows(folder) == rows(without)
    assert_same(final_state(folder), final_state(without))

    for told in (shown, (folder / "log.txt").read_text()):
        assert re.search(r"^ +aten::\w+ .*\d+us", told, re.MULTILINE), "the dearest, by chance"
    with gzip.open(folder / "trace.json.gz") as file:
        events = json.load(file)["traceEvents"]
    assert "aten::mm" in {event["name"] for event in events}
    watched = {e["name"] for e in events if e["name"].startswith("ProfilerStep#")}
    assert len(watched) == 5


@pytest.mark.slow
def test_rows_are_plain_json(tiny: tuple[str, ...], run_folder: FindFolder) -> None:
    train_here(*tiny)
    for line in (run_folder() / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


# Training bpb at steps 20, 40 and 60, over the three steps before each.
GOLDEN_CURVES = {
    "adaptive": [2.5467, 2.3541, 1.9559],
    "fixed": [2.5628, 2.3569, 1.9405],
    "dynamic": [2.6212, 2.1911, 1.9295],
}


@pytest.mark.slow
@pytest.mark.parametrize("attention", ANYWHERE)
@pytest.mark.parametrize("span", GOLDEN_CURVES)
def test_golden_loss_curve(
    tiny: tuple[str, ...], run_folder: FindFolder, span: str, attention: str
) -> None:
    """Changes when the arithmetic of a run changes; such a change must be meant."""
    plain = [o for o in tiny if not o.startswith(("span.ramp", "span.initial", "model.dropout"))]
    train_here(*plain, f"span={span}", f"train.attention={attention}")
    curve = [row["train/bpb"] for row in rows(run_folder()) if "valid/bpb" in row]
    assert curve == pytest.approx(GOLDEN_CURVES[span], abs=2e-3)
