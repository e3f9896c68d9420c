"""`adaspan sync` with the real client and a server: every row once, whatever happened before."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any, Literal

import pexpect
import pytest
import wandb
from click.testing import CliRunner, Result

from adaspan.cli import main
from adaspan.config.resolved import read_config, to_yaml
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import run_id
from adaspan.tracking import client
from adaspan.tracking.files import TrackedFiles, clear
from tests.conftest import TINY, compose_run
from tests.processes import wait_until
from tests.tracking.server import KEY, Server
from tests.tracking.test_run import row, track


@pytest.fixture
def run(tmp_path: Path, text: Path) -> RunFolder:
    """A run of which nothing is trained yet."""
    folder = RunFolder(tmp_path / "runs" / "sums-abc123")
    configuration = compose_run(*TINY, "tracking=offline", "data=text", f"data.path={text}")
    folder.freeze(to_yaml(configuration), "0123")
    return folder


def train(
    run: RunFolder, until: int, state: str, mode: str = "offline", id: str = "abc123"
) -> None:
    """Go on with a run as a session in a process of its own does."""
    with run.lock():
        earlier = run.rows()
        tracker = track(run.path, mode, earlier=earlier, run_id=id)
        for step in range(len(earlier) + 1, until + 1):
            line = {**row(step), "valid/bpb": 3.0, "span/layer_00/head_0": step}
            run.append(line)
            tracker.log(line)
        if state == "done":
            run.append(
                {"step": until, "final/valid_bpb": 2.5, "best/valid_bpb": 2.4, "best/step": 1}
            )
            tracker.finish(run.rows(), None)
        else:
            tracker.leave(resumable=state == "resumable")
        run.set_status(State(state), until)
    wandb.teardown()


def sync(run: RunFolder, *names: str) -> Result:
    return CliRunner().invoke(main, ["sync", "--runs", str(run.path.parent), *names])


def fail_when_rows_come(
    server: Server, monkeypatch: pytest.MonkeyPatch, trouble: Literal["silence"] | int
) -> None:
    """Let the server fail as soon as it has rows of the run, until it is healed."""
    answer, failed = server.answer, threading.Event()

    def answer_until_rows_come(*request: Any) -> tuple[int, bytes] | None:
        given = answer(*request)
        if not failed.is_set() and "abc123" in server.runs and server.runs["abc123"].steps:
            failed.set()
            server.trouble = trouble
        return given

    monkeypatch.setattr(server, "answer", answer_until_rows_come)


def test_what_is_new_is_sent_once(server: Server, run: RunFolder) -> None:
    train(run, 3, "failed")
    train(run, 6, "resumable")
    assert sync(run).output == "1 run sent\n"
    sent = server.runs["abc123"]
    assert sent.steps == [1, 2, 3, 4, 5, 6]
    assert (sent.preempting, sent.exit_code) == (True, 1)

    train(run, 9, "done")
    assert sync(run, "abc123").output == "1 run sent\n"
    assert sent.steps == list(range(1, 10))
    assert '"host":"' not in server.sent(), "nothing of the machine"
    assert sent.exit_code == 0
    assert sent.summary["best_valid_bpb"] == 2.4

    requests = server.requests.total()
    again = sync(run)
    assert (again.exit_code, again.output) == (0, "0 runs sent, 1 had nothing new\n")
    assert server.requests.total() == requests


def test_runs_of_the_version_before_are_sent(server: Server, runs_of_before: Path) -> None:
    answer = CliRunner().invoke(main, ["sync", "--runs", str(runs_of_before)])
    assert answer.output == "2 runs sent\n"
    assert server.runs["a4b04d2d9d"].steps == [5, 10, 15, 20]
    assert server.runs["a4b04d2d9d"].exit_code == 0
    assert server.runs["41c314fa45"].steps == [100]
    assert server.runs["41c314fa45"].preempting


def test_a_run_that_is_being_trained_is_left_alone(server: Server, run: RunFolder) -> None:
    train(run, 5, "resumable")
    with run.lock():
        answer = sync(run)
    assert answer.exit_code == 0
    assert answer.output.splitlines() == [
        f"{run.path}: still being trained, left alone",
        "0 runs sent, 1 still being trained",
    ]
    assert not server.runs


def test_several_are_sent_at_a_time_with_a_bar_of_progress(
    server: Server, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"sums-def{number}" for number in range(3)]
    for name in names:
        other = RunFolder(run.path.with_name(name))
        other.freeze((run.path / "config.yaml").read_text(), "0123")
        tracker = track(other.path, run_id=name.removeprefix("sums-"))
        other.append(row(1))
        tracker.log(row(1))
        tracker.leave(resumable=True)
        other.set_status(State.RESUMABLE, 1)
        wandb.teardown()
    together, met, answer = threading.Barrier(2), threading.Event(), server.answer

    def answer_two_at_once(*request: Any) -> tuple[int, bytes] | None:
        if b"mutation UpsertBucket" in request[-1] and not met.is_set():
            with suppress(threading.BrokenBarrierError):
                together.wait(60)
                met.set()
        return answer(*request)

    monkeypatch.setattr(server, "answer", answer_two_at_once)
    command = str(Path(sys.executable).parent / "adaspan")
    arguments = ["sync", *names, "--runs", str(run.path.parent)]
    terminal = pexpect.spawn(command, arguments, encoding="utf8", timeout=120)
    terminal.expect(r"sending.*3/3")
    terminal.expect("3 runs sent")
    terminal.expect(pexpect.EOF)
    assert met.is_set(), "two at once"
    assert all(server.runs[name.removeprefix("sums-")].steps == [1] for name in names)


def test_a_server_that_refuses_is_told_and_gets_the_rest_the_next_time(
    server: Server, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")  # as clusters have it
    train(run, 5, "resumable")
    train(run, 9, "done")
    with monkeypatch.context() as failing:
        fail_when_rows_come(server, failing, 403)
        failed = sync(run)
    assert failed.exit_code == 1
    mistake, summary = failed.output.splitlines()
    assert mistake.startswith(f"{run.path}: not sent: ")
    assert summary == "0 runs sent, 1 not sent"
    assert 0 < len(server.runs["abc123"].steps) < 9

    server.trouble = None
    assert sync(run).output == "1 run sent\n"
    assert server.runs["abc123"].steps == list(range(1, 10))
    assert server.runs["abc123"].exit_code == 0
    assert server.runs["abc123"].summary["best_valid_bpb"] == 2.4
    assert all("span/heatmap" in row for row in server.runs["abc123"].history)
    assert sync(run).output == "0 runs sent, 1 had nothing new\n"


def test_a_sync_that_was_killed_ends_right_though_it_is_typed_twice_at_once(
    server: Server, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(run, 5, "resumable")
    train(run, 9, "done")
    command = [sys.executable, "-m", "adaspan.tracking.send", str(run.path)]
    with monkeypatch.context() as failing:
        fail_when_rows_come(server, failing, "silence")
        process = Popen(command, stderr=DEVNULL)
        assert wait_until(lambda: server.trouble == "silence", process)
        kill_all_in_environment(os.environ["HOME"])
        process.wait()
    assert 0 < len(server.runs["abc123"].steps) < 9
    server.trouble = None
    both = [Popen(command), Popen(command)]
    assert [process.wait() for process in both] == [0, 0]
    assert server.runs["abc123"].steps == list(range(1, 10))
    assert server.runs["abc123"].exit_code == 0


def kill_all_in_environment(home: str) -> None:
    """What a machine does to every process that was started with this home when it crashes."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"HOME={home}\0".encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)


def test_of_a_run_that_was_killed_and_one_that_was_started_over_every_row_is_sent_once(
    server: Server, run: RunFolder
) -> None:
    train(run, 5, "running")
    (file,) = run.path.glob("wandb/offline-run-*/*.wandb")
    file.write_bytes(file.read_bytes()[:-2000])  # which the client had not written yet
    assert sync(run).output == "1 run sent\n"
    assert server.runs["abc123"].steps == [1, 2, 3, 4, 5]

    shutil.rmtree(run.path / "wandb")
    (run.path / "metrics.jsonl").unlink()
    train(run, 8, "done")
    assert sync(run).output == "1 run sent\n"
    assert server.runs["abc123"].steps == list(range(1, 9))


def test_what_was_not_sent_online_is_sent_then(server: Server, run: RunFolder) -> None:
    train(run, 5, "resumable", mode="online")
    (run.path / "wandb" / "unsent").touch()  # as a kill leaves it
    run.append(row(6))  # which the kill kept from W&B
    train(run, 9, "done")
    assert sync(run).output == "1 run sent\n"
    assert server.runs["abc123"].steps == list(range(1, 10))


@pytest.mark.parametrize("goes_on", ["offline", "online"])
def test_a_run_that_was_deleted_on_wandb_is_sent_as_another(
    server: Server, run: RunFolder, goes_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "3")  # so long W&B's client tries again
    own = run_id(read_config(run.path))
    train(run, 5, "resumable", id=own)
    assert sync(run).output == "1 run sent\n"
    server.delete(own)
    train(run, 9, "done", goes_on, id=own)
    mistake, counted = sync(run).output.splitlines()
    assert mistake.endswith("W&B did not take its id again; sent as another run")
    assert counted == "1 run sent"
    ((id, again),) = server.runs.items()
    assert id == f"{own}r1"
    assert again.steps == list(range(1, 10))
    assert again.summary["best_valid_bpb"] == 2.4
    assert (again.finished, again.exit_code) == (True, 0)
    assert again.tags == ["sums", "adaptive"]
    assert again.config["span"]["limit"] == 24
    assert sync(run).output == "0 runs sent, 1 had nothing new\n"


def test_what_was_sent_is_looked_for_again_on_request(
    server: Server, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(run, 9, "done")
    assert sync(run).output == "1 run sent\n"
    assert sync(run, "--again").output == "1 run sent\n"
    assert server.runs["abc123"].steps == list(range(1, 10))
    server.runs.clear()  # as another server, or another's account, which never heard of it
    assert sync(run).output == "0 runs sent, 1 had nothing new\n"
    assert sync(run, "--again").output == "1 run sent\n"
    ((id, again),) = server.runs.items()
    assert id == run_id(read_config(run.path)), "its own"
    assert again.steps == list(range(1, 10))
    assert TrackedFiles(run.path).restarts() == 0


def test_a_run_that_could_not_be_tracked_at_all_is_sent_from_its_rows(
    server: Server, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(client, "start", lambda *_: 1 / 0)
        train(run, 5, "resumable")
    assert not list(run.path.glob("wandb/*run-*"))
    assert sync(run).output == "1 run sent\n"
    (sent,) = server.runs.values()
    assert sent.steps == [1, 2, 3, 4, 5]
    assert sync(run).output == "0 runs sent, 1 had nothing new\n"


def test_what_was_begun_anew_is_never_mixed_with_what_was_before(
    server: Server, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, config = run_id(read_config(run.path)), (run.path / "config.yaml").read_text()
    run = RunFolder(run.path.rename(run.path.with_name(f"sums-{own}")))
    train(run, 9, "done", id=own)
    assert sync(run).output == "1 run sent\n"
    with run.lock():
        clear(run)
        run.freeze(config, "0123")
    with monkeypatch.context() as broken:
        broken.setattr(client, "start", lambda *_: 1 / 0)
        train(run, 12, "resumable", id=f"{own}r1")
    assert sync(run).output == "1 run sent\n"
    assert server.runs[own].steps == list(range(1, 10))
    assert server.runs[f"{own}r1"].steps == list(range(1, 13))


def test_rows_that_a_kill_kept_from_the_files_are_sent_whatever_became_of_the_run(
    server: Server, run: RunFolder
) -> None:
    train(run, 5, "resumable")
    run.append(row(6))
    run.append(row(7))
    for device, step in (("cpu", 0), ("cuda:1", 5)):
        run.source.add_start(step, "0123", {}, {"device": device, "gpu": "H200" * bool(step)})
    run.set_status(State.FAILED, 7, error="out of memory", message="")  # as its job saw it
    assert sync(run).output == "1 run sent\n"
    sent = server.runs["abc123"]
    assert sent.steps == list(range(1, 8))
    assert [(start["step"], start["device"]) for start in sent.config["starts"]] == [
        (0, "cpu"),
        (5, "H200"),
    ]
    assert sent.config["model"] == {"dim": 4}, "what was there before is kept"


def test_runs_that_were_not_tracked_are_told_of(server: Server, run: RunFolder) -> None:
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("mode: offline", "mode: disabled"))
    assert sync(run).output == "0 runs sent, 1 not tracked\n"


def test_without_a_key_or_a_network_the_way_out_is_told(
    server: Server, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(run, 1, "resumable")

    def error() -> str:
        answer = sync(run)
        assert answer.exit_code == 2
        (line,) = answer.output.splitlines()
        return line

    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    assert "error 401" in error()
    monkeypatch.delenv("WANDB_API_KEY")
    assert error() == "adaspan: error: W&B: no key; `wandb login`, or WANDB_API_KEY"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert error().startswith(
        "adaspan: error: W&B: http://127.0.0.1:9 does not answer (connection refused); "
    )
    assert not server.runs
