"""Which runs are of other code than the one that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from adaspan.files import write_json
from adaspan.places import CODE
from adaspan.runs.code.fingerprint import Code, code_in, short
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.runs.other_code import changed_since, files_changed_since, files_other_here
from adaspan.status.explain import code as explained
from adaspan.status.state import read_states
from adaspan.status.table import table

HERE = code_in(CODE)
BEFORE = {**HERE, "adaspan/nn/heads.py": "before", "mine.py": "of an extension"}
Begin = Callable[..., RunFolder]


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    """Makes a run of these starts, by step, with a checkpoint of step 9."""

    def make(starts: Mapping[int, Code | None], state: State = State.DONE) -> RunFolder:
        folder = RunFolder(tmp_path / f"run-{len([*tmp_path.iterdir()])}")
        folder.checkpoints.mkdir(parents=True)
        (folder.checkpoints / "step_00000009.pt").touch()
        entries = [
            {"step": step} | ({"code": short(code), "code_files": code} if code else {})
            for step, code in starts.items()
        ]
        write_json(folder.path / "source.json", entries)
        folder.set_status(state, 9)
        return folder

    return make


@pytest.mark.parametrize(
    ("starts", "done", "resumable"),
    [
        ({}, [], []),
        ({0: HERE}, [], []),
        ({0: None}, [], []),  # of a version that did not tell
        ({0: BEFORE}, ["adaspan/nn/heads.py"], ["adaspan/nn/heads.py"]),
        ({0: BEFORE, 7: HERE}, ["adaspan/nn/heads.py"], []),  # that was accepted
        ({0: HERE, 7: BEFORE}, ["adaspan/nn/heads.py"], ["adaspan/nn/heads.py"]),
        ({0: HERE, 9: BEFORE}, ["adaspan/nn/heads.py"], []),  # the last start has saved nothing
    ],
)
def test_a_run_is_of_this_code_from_its_first_update_on_or_since_it_was_accepted(
    starts: Mapping[int, Code | None], done: list[str], resumable: list[str], begin: Begin
) -> None:
    extended = {**HERE, "mine.py": "of an extension"}
    own = {
        step: {**code, "mine.py": "of an extension"} if code else None
        for step, code in starts.items()
    }
    assert files_changed_since(begin(own), extended) == done
    assert files_changed_since(begin(own, State.RESUMABLE), extended) == resumable
    assert files_other_here(begin(own)) == done, "without the extension, which is not imported"


def test_versions_that_told_no_code_are_taken_for_the_same() -> None:
    assert changed_since([{"step": 0, "commit": "abc"}], HERE) == []


def test_status_and_explain_say_which_code_it_was(begin: Begin, tmp_path: Path) -> None:
    here, before = short(HERE), short(BEFORE)
    changed = "adaspan/nn/heads.py differs"
    assert explained(begin({0: HERE}).path) == f"{here}; the same here"
    assert explained(begin({0: BEFORE}).path) == f"{before}; it is other here: {changed}"
    mixed = begin({0: BEFORE, 7: HERE})
    assert explained(mixed.path) == f"{before}, then {here}; it is other here: {changed}"
    assert explained(begin({0: None}).path).startswith("not known: ")
    assert explained(begin({}).path) == ""

    states = read_states({path: {} for path in sorted(tmp_path.iterdir())})
    codes = [here, before, f"{before}+{here}", "unknown", ""]
    assert [state.code for state in states] == codes
    columns = [column.header for column in table("all", states).columns]
    assert "code" in columns
    assert "code" not in [column.header for column in table("one", states[:1]).columns]
