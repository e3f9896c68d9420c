"""The real W&B client with a server: all that a run sends, every step once, whatever happens."""

from __future__ import annotations

import io
import json
import logging
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import pytest
import wandb
from PIL import Image

from adaspan.runs.folder import RunFolder
from adaspan.train.run import train
from tests.conftest import compose_run
from tests.processes import FindFolder, kill, rows, start, step_so_far, wait_for_step, wait_until
from tests.tracking.server import KEY, Run, Server
from tests.tracking.test_run import finish, row, steps, track, warnings

# The client's pauses in seconds, as short as it takes them.
PATIENCE = {
    "WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "1",
    "WANDB__FILE_STREAM_RETRY_WAIT_MIN_SECONDS": "1",
    "WANDB__FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "1",
}


ENDLESS = ("tracking=online", "train.steps=1000000", "train.log_every=2")


@pytest.fixture
def impatient(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server of clients that send, and try again, every second."""
    for name, value in PATIENCE.items():
        monkeypatch.setenv(name, value)
    return server


STARTS = [
    {
        "commit": "c0ffee",
        "diff": "-old\n+new",
        "host": "node1",
        "device": "cuda:3",
        "gpu": "NVIDIA H200",
        "precision": "bfloat16",
        "packages": {"torch": "2.8.0"},
    },
    {"step": 7, "commit": "c0ffee", "host": "node1", "device": "cpu", "threads": 8},
]


def stop(process: subprocess.Popen[bytes]) -> None:
    """Let a run save and leave."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM


def table(run: Run, key: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(run.files[run.summary[key]["path"]])
    return content


def test_a_run_arrives_with_all_that_is_known_of_it(server: Server, tmp_path: Path) -> None:
    weights = tmp_path / "best.pt"
    weights.write_bytes(b"weights" * 1000)
    tracker = track(
        tmp_path,
        "online",
        entity="tester",
        group="limits-a1b2c3",
        name="span.limit=32 · abc123",
        tags=["sums", "adaptive", "mine", "adaptive", "x" * 99],
        values={"model": {"dim": 4}, "data": {"path": "/data/sums.txt"}},
        source=STARTS[0],
        starts=STARTS,
    )
    evaluated = {**row(2), "span/layer_00/head_0": 2.0, "span/layer_00/head_1": 30.0}
    tracker.log(row(1))
    tracker.log(evaluated)
    finish(tracker, weights)

    run = server.runs["abc123"]
    assert (run.entity, run.project, run.group) == ("tester", "adaspan", "limits-a1b2c3")
    assert (run.name, run.job_type) == ("span.limit=32 · abc123", "train")
    assert run.tags == ["sums", "adaptive", "mine", "x" * 64]
    assert run.config["model"] == {"dim": 4}
    assert run.config["data"] == {"path": "/data/sums.txt"}
    first = {"commit": "c0ffee", "precision": "bfloat16", "device": "NVIDIA H200", "torch": "2.8.0"}
    assert run.config["source"] == first
    assert run.config["starts"] == [
        {"step": 0, **first},
        {"step": 7, "commit": "c0ffee", "device": "cpu", "threads": 8},
    ]
    assert "node1" not in str(run.config), "the name of the machine stays here"
    assert run.files["diff.patch"] == b"-old\n+new"
    assert run.steps == [1, 2]
    assert [line["train/bpb"] for line in run.history] == [7.99, 7.98]
    assert run.history[1]["span/layer_00/head_1"] == 30
    picture = run.files[run.history[1]["span/heatmap"]["path"]]
    assert Image.open(io.BytesIO(picture)).format == "PNG"
    assert "span/heatmap" not in run.history[0]
    assert run.summary["best_valid_bpb"] == 2.4
    assert run.summary["final_valid_bpb"] == 2.5
    assert table(run, "spans") == {
        "columns": ["layer", "head", "span"],
        "data": [[0, 0, 2.0], [0, 1, 30.0]],
    }
    artifact = server.artifacts["adaspan-abc123"]
    assert artifact.committed
    assert (artifact.type, artifact.metadata["best_valid_bpb"]) == ("model", 2.4)
    assert artifact.files == {"best.pt": weights.read_bytes()}
    assert (run.finished, run.exit_code) == (True, 0)


def test_weights_stay_here_unless_asked_for(server: Server, tmp_path: Path) -> None:
    finish(track(tmp_path, "online"))
    assert {artifact.type for artifact in server.artifacts.values()} == {"run_table"}


def test_secrets_stay_here(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    netrc = tmp_path / "home" / ".netrc"
    netrc.parent.mkdir()
    netrc.write_text("machine elsewhere login me password hunter1")
    netrc.chmod(0o644)
    config = {"data": {"path": "/data", "api_key": "hunter2", "Password": {"of": "hunter3"}}}
    with caplog.at_level(logging.WARNING, "adaspan"):
        tracker = track(tmp_path, "online", values=config)
    finish(tracker)
    assert server.runs["abc123"].config["data"]["path"] == "/data"
    assert server.runs["abc123"].config["data"].keys() == config["data"].keys()
    assert "hunter" not in server.sent()
    assert warnings(caplog) == [
        f"{netrc}: others may read this file and the keys in it; chmod 600 it"
    ]
    kept = list((tmp_path / "wandb").rglob("*"))
    assert kept
    assert KEY not in "".join(p.read_text(errors="replace") for p in kept if p.is_file())
    assert stat.S_IMODE((tmp_path / "wandb").stat().st_mode) == 0o700


def test_a_wrong_key_is_one_warning_and_the_run_goes_on_offline(
    server: Server,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "1" * 40)
    with caplog.at_level(logging.WARNING, "adaspan"):
        tracker = track(tmp_path, "online")
    tracker.log(row(1))
    finish(tracker)
    (message,) = warnings(caplog)
    assert "401" in message
    assert message.endswith("tracking offline instead")
    assert steps(tmp_path) == [1]


def test_rows_at_full_speed_make_a_handful_of_requests(server: Server, tmp_path: Path) -> None:
    tracker = track(tmp_path, "online")
    for step in range(1, 2001):
        tracker.log(row(step))
    finish(tracker)
    assert server.runs["abc123"].steps == list(range(1, 2001))
    assert server.requests["file_stream"] < 5


def test_a_killed_run_goes_on_in_the_same_wandb_run_with_every_step_once(
    tiny: tuple[str, ...], tmp_path: Path, run_folder: FindFolder, impatient: Server
) -> None:
    overrides = [*tiny, *ENDLESS]
    process = start(tmp_path, *overrides, "+hydra.job.env_set.PASSWORD=hunter2")

    def some_arrived() -> bool:
        return any(run.history for run in impatient.runs.values())

    assert wait_until(some_arrived, process), (tmp_path / "output").read_text()
    kill(process)
    before = step_so_far(tmp_path)
    process = start(tmp_path, *overrides)
    assert wait_for_step(tmp_path, before + 20, process), (tmp_path / "output").read_text()
    stop(process)

    (run,) = impatient.runs.values()
    assert run_folder().name.endswith(run.id)
    assert run.steps == [row["step"] for row in rows(run_folder())]
    pictures = [line["_step"] for line in run.history if "span/heatmap" in line]
    assert pictures == [row["step"] for row in rows(run_folder()) if "valid/bpb" in row]
    assert run.preempting
    assert "hunter2" not in impatient.sent()


@pytest.mark.parametrize("before", ["online", "offline"])
@pytest.mark.parametrize("after", ["online", "offline"])
def test_parts_on_and_offline_make_one_run_with_every_step_once(
    server: Server,
    tmp_path: Path,
    before: Literal["online", "offline"],
    after: Literal["online", "offline"],
) -> None:
    first = track(tmp_path, before)
    for step in range(1, 8):
        first.log(row(step))
    first.leave(resumable=True)
    # It was killed after step 7, and starts again from its checkpoint of step 5.
    second = track(tmp_path, after, earlier=[row(step) for step in range(1, 6)])
    for step in range(6, 11):
        second.log(row(step))
    finish(second)

    sync = [sys.executable, "-m", "wandb", "sync", *map(str, tmp_path.glob("wandb/offline-run-*"))]
    subprocess.run(sync, cwd=tmp_path, check=True, capture_output=True)
    assert server.runs.keys() == {"abc123"}
    assert server.runs["abc123"].steps == list(range(1, 11))
    assert server.runs["abc123"].summary["best_valid_bpb"] == 2.4


def test_a_run_killed_before_its_first_checkpoint_begins_again_in_the_same_wandb_run(
    server: Server, tmp_path: Path
) -> None:
    first = track(tmp_path, "online")
    for step in range(1, 5):
        first.log(row(step))
    first.leave(resumable=True)
    second = track(tmp_path, "online", earlier=[])
    for step in range(1, 8):
        second.log(row(step))
    finish(second)
    assert server.runs["abc123"].steps == list(range(1, 8))


def test_a_run_that_is_started_over_is_another_wandb_run(
    tiny: tuple[str, ...], server: Server, run_folder: FindFolder
) -> None:
    for restart in ("false", "true"):
        train(compose_run(*tiny, "tracking=online", f"train.restart={restart}"))
    first, second = server.runs.values()
    assert run_folder().name.endswith(first.id)
    assert first.config["data"]["sha256"] == RunFolder(run_folder()).source.short_fingerprint()
    assert second.id == f"{first.id}r1"
    assert first.steps == second.steps
    assert first.finished
    assert second.finished


def test_a_server_in_trouble_delays_nothing_and_has_everything_once_it_is_well(
    tiny: tuple[str, ...], tmp_path: Path, run_folder: FindFolder, impatient: Server
) -> None:
    process = start(tmp_path, *tiny, *ENDLESS)
    troubles: list[Literal["silence"] | int] = [500, "silence"]
    for trouble in troubles:
        assert wait_for_step(tmp_path, step_so_far(tmp_path) + 10, process), "it trains"
        impatient.trouble = trouble
        asked, step = impatient.requests.total(), step_so_far(tmp_path)
        while impatient.requests.total() == asked:
            assert process.poll() is None, (tmp_path / "output").read_text()
            time.sleep(0.01)
        assert wait_for_step(tmp_path, step + 20, process), "it goes on training"
        impatient.trouble = None
    stop(process)
    (run,) = impatient.runs.values()
    assert run.steps == [row["step"] for row in rows(run_folder())]
    assert run.finished
    assert "warning" not in (tmp_path / "output").read_text()


def test_a_dead_server_holds_up_the_end_for_a_while_only_and_gets_the_rest_later(
    impatient: Server,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "1")
    monkeypatch.setattr(wandb.Api, "_HTTP_TIMEOUT", 1)
    tracker = track(tmp_path, "online")
    tracker.log(row(1))
    impatient.trouble = 500
    for step in range(2, 6):
        tracker.log(row(step))
    with caplog.at_level(logging.WARNING, "adaspan"):
        finish(tracker)
    (message,) = warnings(caplog)
    assert message.startswith("W&B failed: not all was sent within 1 s, `adaspan sync` sends the")
    assert (tmp_path / "wandb" / "unsent").exists()
    assert not impatient.runs["abc123"].finished

    impatient.trouble = None
    again = track(tmp_path, "online", earlier=[row(step) for step in range(1, 6)])
    finish(again)
    assert impatient.runs["abc123"].steps == [1, 2, 3, 4, 5]
    assert impatient.runs["abc123"].finished
    assert not (tmp_path / "wandb" / "unsent").exists()
