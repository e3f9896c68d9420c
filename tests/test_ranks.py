"""Which process this is: variables that a shell was left with make no second one, and mute none."""

from __future__ import annotations

import pytest

from adaspan import errors, ranks
from adaspan.errors import UserError, reported_in_one_line
from tests.conftest import Launch

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


def test_an_error_that_only_another_process_has_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The main process would have ended this one, had it spoken."""
    monkeypatch.setattr(errors, "MAIN_PROCESS_SPEAKS_S", 0.01)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", **_MEETING}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit), reported_in_one_line():
        raise UserError("data.path=x: no such file")
    assert capsys.readouterr().err == "adaspan: error: data.path=x: no such file\n"
