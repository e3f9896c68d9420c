"""The real W&B client, offline: every row once, and no failure of its own stops a run."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import wandb

from adaspan.runs.figures import Row
from adaspan.tracking.files import Part
from adaspan.tracking.internals import UnreadableError
from adaspan.tracking.run import Tracker
from tests.conftest import Launch

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key, no configuration and no run of the machine's user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr(wandb, "run", None)  # a client that failed leaves it set
    yield
    wandb.teardown()


def track(
    folder: Path,
    mode: str = "offline",
    earlier: Sequence[Row] = (),
    **more: Any,
) -> Tracker:
    """A run of a small model, that went on after the rows of `earlier`."""
    given = {
        "project": "adaspan",
        "entity": None,
        "group": None,
        "name": None,
        "run_id": "abc123",
        "values": {"model": {"dim": 4}},
        "source": {"commit": "c0ffee", "diff": ""},
        "span_limit": 32,
    }
    return Tracker(mode=mode, path=folder, earlier=earlier, **given | more)


def row(step: int) -> Row:
    """One that is no evaluation's."""
    return {"step": step, "train/bpb": 8.0 - step / 100}


def finish(tracker: Tracker, weights: Path | None = None) -> None:
    """End a run whose only evaluation was after its first step."""
    evaluated = {**row(1), "span/layer_00/head_0": 2.0, "span/layer_00/head_1": 30.0}
    final = {"step": 9, "final/valid_bpb": 2.5, "best/valid_bpb": 2.4, "best/step": 1}
    tracker.finish([evaluated, final], weights)


def records(folder: Path) -> list[dict[str, Any]]:
    """Everything in the run's offline files, as W&B reads them, in the order they were begun."""
    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        found += [json.loads(line) for line in answer.stdout.splitlines()]
    return found


def steps(folder: Path) -> list[int]:
    return [r["history"]["item"]["_step"] for r in records(folder) if r["type"] == "history"]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Ours; W&B logs, too."""
    return [r.getMessage() for r in caplog.records if r.name.startswith("adaspan")]


def test_an_offline_run_has_the_id_the_configuration_and_the_summary(tmp_path: Path) -> None:
    tracker = track(tmp_path)
    tracker.log(row(1))
    tracker.log({"step": 2, "train/bpb": 2.5})
    tracker.summarize({"best/valid_bpb": 2.6})
    finish(tracker)
    assert steps(tmp_path) == [1, 2]
    run = next(r["run"] for r in records(tmp_path) if r["type"] == "run")
    assert run["run_id"] == "abc123"
    assert run["config"]["update"]["model"] == {"dim": 4}
    summaries = [r["summary"]["update"] for r in records(tmp_path) if r["type"] == "summary"]
    figures = [summary["best_valid_bpb"] for summary in summaries if "best_valid_bpb" in summary]
    assert figures == [2.6, 2.4]


def test_a_resumed_run_has_every_row_once(tmp_path: Path) -> None:
    first = track(tmp_path)
    for step in range(1, 8):
        first.log(row(step))
    finish(first)
    # The run went on to step 7, was killed, and starts again from its checkpoint of step 5.
    second = track(tmp_path, earlier=[row(s) for s in range(1, 6)])
    for step in range(6, 11):
        second.log(row(step))
    finish(second)
    assert steps(tmp_path) == list(range(1, 11))


def test_a_file_is_read_once_however_often_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = track(tmp_path)
    tracker.log(row(7))
    finish(tracker)
    wandb.teardown()  # who writes it has ended, too
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert Part(file).last_step() == 7
    monkeypatch.setattr(sys, "executable", "/nothing/to/read/it/with")
    assert Part(file).last_step() == 7
    with file.open("ab") as more:  # a client that outlived its run
        more.write(b"more")
    with pytest.raises(UnreadableError):
        Part(file).last_step()


def test_wandb_learns_how_a_run_ended(tmp_path: Path) -> None:
    def exit_and_preemption(folder: Path) -> tuple[int, bool]:
        found = records(folder)
        exits = [r["exit"].get("exit_code", 0) for r in found if r["type"] == "exit"]
        return exits[-1], any(r["type"] == "preempting" for r in found)

    finish(track(tmp_path / "done"))
    track(tmp_path / "failed").leave(resumable=False)
    track(tmp_path / "stopped").leave(resumable=True)
    assert exit_and_preemption(tmp_path / "done") == (0, False)
    assert exit_and_preemption(tmp_path / "failed") == (1, False)
    assert exit_and_preemption(tmp_path / "stopped") == (1, True)


def test_rows_that_a_kill_kept_from_wandb_are_sent_on_resume(tmp_path: Path) -> None:
    finish(track(tmp_path, earlier=[row(1)]))
    finish(track(tmp_path, earlier=[row(s) for s in range(1, 6)]))
    assert steps(tmp_path) == [1, 2, 3, 4, 5]


def test_disabled_writes_nothing(tmp_path: Path) -> None:
    tracker = track(tmp_path, mode="disabled")
    tracker.log(row(1))
    finish(tracker)
    assert not (tmp_path / "wandb").exists()


def test_online_without_a_key_goes_on_offline_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "adaspan"):
        tracker = track(tmp_path, mode="online")
    tracker.log(row(1))
    finish(tracker)
    assert "no key" in caplog.text
    assert steps(tmp_path) == [1]


def test_online_without_a_network_goes_on_offline_and_says_so(
    tiny: tuple[str, ...], launch: Launch, tmp_path: Path
) -> None:
    end = launch(
        *tiny,
        "tracking=online",
        WANDB_BASE_URL="http://127.0.0.1:9",
        WANDB_API_KEY="0" * 40,
        WANDB__GRAPHQL_RETRY_MAX="1",
        HOME=str(tmp_path),
    )
    assert end.returncode == 0, end.stderr
    assert "tracking offline instead" in end.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert steps(folder)[-1] == 60


def test_a_failing_client_is_one_warning_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = track(tmp_path)
    wandb.teardown()  # what a signal to the whole process group does to the client's server
    with caplog.at_level(logging.WARNING, "adaspan"):
        for step in range(1, 50):
            tracker.log(row(step))
        finish(tracker)
    (warning,) = warnings(caplog)
    assert warning.startswith("W&B failed")


def test_a_client_that_cannot_start_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**arguments: object) -> None:
        raise PermissionError("no place to write")

    monkeypatch.setattr(wandb, "init", refuse)
    with caplog.at_level(logging.WARNING, "adaspan"):
        tracker = track(tmp_path)
        tracker.log(row(1))
        finish(tracker)
    assert warnings(caplog) == [
        "W&B failed: no place to write; training goes on, the run folder has every figure"
    ]
