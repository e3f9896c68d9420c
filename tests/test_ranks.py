"""Which process this is: variables that a shell was left with make no second one, and mute none."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaspan import errors, ranks
from adaspan.cli import main as adaspan_main
from adaspan.errors import (
    ExtensionError,
    NotMetError,
    ProcessError,
    RunError,
    SharedError,
    UserError,
    reported_in_one_line,
)
from tests.conftest import Launch, call

_MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
_ALL = ("RANK", "WORLD_SIZE", "LOCAL_RANK", *_MEETING)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _ALL:
        monkeypatch.delenv(name, raising=False)


def test_torchruns_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", **_MEETING}.items():
        monkeypatch.setenv(name, value)
    assert (ranks.rank(), ranks.world_size(), ranks.local_rank()) == (5, 8, 1)
    assert ranks.leftover() is None


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({"RANK": "1"}, "RANK=1"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "RANK=1"),
        ({"WORLD_SIZE": "2", **_MEETING}, "WORLD_SIZE=2"),
        ({"RANK": "first"}, "RANK=first"),
        ({"RANK": "5", "WORLD_SIZE": "2", **_MEETING}, "RANK=5"),
        ({"RANK": "1", "WORLD_SIZE": "2", **_MEETING, "MASTER_PORT": "auto"}, "MASTER_PORT=auto"),
        ({"RANK": "1", "WORLD_SIZE": "2", **_MEETING, "MASTER_PORT": "99999"}, "MASTER_PORT=99999"),
        ({"WORLD_SIZE": ""}, None),
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        ({"LOCAL_RANK": "3", **_MEETING}, None),
    ],
)
def test_what_was_left_over_is_named_and_makes_no_second_process(
    variables: dict[str, str], word: str | None, launch_here: Launch
) -> None:
    for words in ((), ("model.headz=3",)):
        end = launch_here("--cfg", "job", *words, **variables)
        lines = end.stderr.splitlines()
        if word:
            (line,) = lines
            assert line.startswith(f"adaspan: error: {word}: in the environment, but")
            assert line.endswith(f"; for one process: unset {word.split('=')[0]}")
            assert end.returncode == 2
        else:
            assert len(lines) == len(words)
            assert end.returncode == (2 if words else 0)


_SECOND = {"RANK": "1", "WORLD_SIZE": "2", **_MEETING}


@pytest.mark.parametrize(
    "error",
    [
        UserError("data.path=x: no such file"),
        RunError("config.yaml: damaged"),
        ExtensionError("my_spans.py, line 3: ValueError"),
        NotMetError("did not meet the 1 other of 2 processes"),
        ProcessError("train.device=cuda:1: this machine has no cuda:1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_only_another_process_has_is_told(
    error: UserError | RunError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The main process would have ended this one, had it spoken."""
    monkeypatch.setattr(errors, "MAIN_PROCESS_SPEAKS_S", 0.01)
    for name, value in _SECOND.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end, reported_in_one_line(of_a_run=True):
        raise error
    assert end.value.code == error.exit_code
    assert capsys.readouterr().err == f"adaspan: error: {error}\n"


def test_an_error_that_all_processes_have_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank in ("0", "1"):
        for name, value in {**_SECOND, "RANK": rank}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as end, reported_in_one_line(of_a_run=True):
            raise SharedError("train.seed: 1 in process 0 but 2 in process 1")
        assert end.value.code == 2
    assert capsys.readouterr().err.count("adaspan: error: train.seed") == 1


def test_what_torchrun_left_in_a_shell_mutes_no_other_command(tmp_path: Path) -> None:
    (tmp_path / "runs" / "bad").mkdir(parents=True)
    (tmp_path / "runs" / "bad" / "config.yaml").write_text("[")
    end = call(adaspan_main, "adaspan", "explain", "bad", folder=tmp_path, **_SECOND)
    assert end.returncode == 1
    (line,) = end.stderr.splitlines()
    assert "config.yaml: damaged" in line
