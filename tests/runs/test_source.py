"""A run says what it was made of at each start, older runs included."""

from __future__ import annotations

import json
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from adaspan.errors import RunError
from adaspan.runs.folder import RunFolder
from adaspan.runs.source import Source
from tests.processes import FindFolder, train_here


def git(root: Path, *arguments: str) -> None:
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", str(root), *author, *arguments], check=True, capture_output=True)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A repository that stands for ours."""
    root = tmp_path / "code"
    root.mkdir()
    git(root, "init")
    (root / "file.py").write_text("one\n")
    git(root, "add", "file.py")
    git(root, "commit", "-m", "one")
    return root


def test_each_start_is_an_entry(code: Path, tmp_path: Path) -> None:
    source = Source(tmp_path / "source.json", code)
    source.fix_data("abc")
    assert (source.data_fingerprint(), source.begun_with()) == ("abc", {"data_sha256": "abc"})
    (code / "file.py").write_text("two\n")
    for step in (0, 7, 9):
        if step == 9:
            (code / "file.py").write_text("three\n")
        source.add_start(step, "abc", {"device": f"cuda:{step}", "threads": 2})

    written = json.loads((tmp_path / "source.json").read_text())
    assert ["diff" in entry for entry in written] == [True, False, True], "told once"
    first, second, third = source.starts()
    assert [entry["device"] for entry in source.starts()] == ["cuda:0", "cuda:7", "cuda:9"]
    assert first["diff"] == second["diff"] != third["diff"]
    assert "+two" in second["diff"]
    assert source.begun_with() == first
    assert first["packages"]["torch"].startswith("2.")
    assert first["packages"]["triton"] == metadata.version("triton"), "bits depend on it"
    assert {"commit", "time", "python", "platform", "extensions"} <= first.keys()


def test_a_start_over_from_nothing_is_what_the_run_was_begun_with(
    code: Path, tmp_path: Path
) -> None:
    source = Source(tmp_path / "source.json", code)
    for name in ("gone", "here"):  # killed before its first checkpoint, and started again
        source.add_start(0, "abc", {"device": name})
    source.add_start(7, "abc", {"device": "later"})
    assert source.begun_with()["device"] == "here"


OLD = {"commit": "c0ffee", "diff": "+ a line", "data_sha256": "0123456789abcdef", "python": "3.11"}


def test_older_runs_have_one_entry_and_go_on(code: Path, tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text(json.dumps(OLD))
    source = Source(tmp_path / "source.json", code)
    assert source.starts() == [OLD]
    assert source.short_fingerprint() == "0123456789ab"
    source.add_start(7, OLD["data_sha256"], {"device": "cpu"})
    assert source.begun_with() == OLD
    assert source.starts()[1]["step"] == 7


@pytest.mark.slow
def test_what_auto_became_is_written_down(tiny: tuple[str, ...], run_folder: FindFolder) -> None:
    train_here(*tiny, "train.steps=7")
    (start,) = RunFolder(run_folder()).source.starts()
    became: dict[str, Any] = {
        "device": "cpu",
        "precision": "float32",
        "attention": "banded",
        "processes": 1,
        "threads": 1,
    }
    assert became.items() <= start.items()


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_damaged_file_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text(content)
    with pytest.raises(RunError, match=r"source\.json: damaged"):
        Source(tmp_path / "source.json").starts()
