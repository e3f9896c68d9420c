"""A run says what it was made of at each start, older runs included."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from adaspan.errors import RunError
from adaspan.files import write_json
from adaspan.runs.code.commit import code_version
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.runs.source import Source
from adaspan.runs.start import differences, inexact
from tests.processes import FindFolder, train_here


def git(root: Path, *arguments: str) -> None:
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", str(root), *author, *arguments], check=True, capture_output=True)


CODE = {"adaspan/nn/heads.py": "0a1b"}
OTHER = {"adaspan/nn/heads.py": "2c3d"}


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
        source.add_start(step, "abc", CODE, {"device": f"cuda:{step}", "gpu": "H200", "threads": 2})

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
    assert first["host"] == platform.node()
    (unlike,) = source.unlike_before()
    assert re.fullmatch(r"uncommitted changes [0-9a-f]{9}, now [0-9a-f]{9}", unlike)


def test_a_start_over_from_nothing_is_what_the_run_was_begun_with(
    code: Path, tmp_path: Path
) -> None:
    source = Source(tmp_path / "source.json", code)
    for name in ("gone", "here"):  # killed before its first checkpoint, and started again
        source.add_start(0, "abc", CODE, {"device": name})
    source.add_start(7, "abc", CODE, {"device": "later"})
    assert source.begun_with()["device"] == "here"


OLD = {"commit": "c0ffee", "diff": "+ a line", "data_sha256": "0123456789abcdef", "python": "3.11"}


def test_older_runs_have_one_entry_and_go_on(code: Path, tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text(json.dumps(OLD))
    source = Source(tmp_path / "source.json", code)
    assert source.starts() == [OLD]
    assert source.short_fingerprint() == "0123456789ab"
    source.add_start(7, OLD["data_sha256"], CODE, {"device": "cpu"})
    assert source.begun_with() == OLD
    assert source.starts()[1]["step"] == 7


def test_code_is_told_once_and_known_of_each_start(code: Path, tmp_path: Path) -> None:
    source = Source(tmp_path / "source.json", code)
    for step, files in enumerate((CODE, CODE, OTHER)):
        source.add_start(step, "abc", files, {})
    written = json.loads((tmp_path / "source.json").read_text())
    assert ["code_files" in entry for entry in written] == [True, False, True]
    assert [entry["code_files"] for entry in source.starts()] == [CODE, CODE, OTHER]
    (tmp_path / "source.json").write_text(json.dumps([*written, OLD]))  # by an earlier version
    assert "code_files" not in source.starts()[-1]


@pytest.mark.parametrize(
    ("steps", "newest", "made"),
    [
        ([0], 0, []),
        ([0], 9, [0]),
        ([0, 7, 9], 12, [0, 1, 2]),
        ([0, 7, 9], 9, [0, 1]),  # the last has saved nothing so far
        ([0, 7, 7], 9, [0, 2]),  # what the second did was lost
        ([0, 7, 0], 9, [2]),
        ([0, 9, 7], 12, [0, 2]),  # the checkpoint of step 9 was damaged
    ],
)
def test_only_starts_whose_updates_were_kept_have_made_a_run(
    steps: list[int], newest: int, made: list[int], tmp_path: Path
) -> None:
    starts = [{"step": step, "number": number} for number, step in enumerate(steps)]
    (tmp_path / "source.json").write_text(json.dumps(starts))
    found = Source(tmp_path / "source.json").made_by(newest)
    assert [entry["number"] for entry in found] == made


def test_what_no_commit_has_is_in_the_diff(code: Path, tmp_path: Path) -> None:
    (code / ".gitignore").write_text("ignored.py\n")
    (code / "ignored.py").write_text("no\n")
    (code / "text.txt").write_text("no\n")
    (code / "new").mkdir()
    (code / "new" / "mödule.py").write_text("x = 1\ny = 2\n")
    diff = code_version(code)["diff"]
    assert "no" not in diff.split("new file")[0] + diff
    git(code, "stash", "--include-untracked")
    (tmp_path / "changes").write_text(diff + "\n")
    git(code, "apply", str(tmp_path / "changes"))
    assert (code / "new" / "mödule.py").read_text() == "x = 1\ny = 2\n"


@pytest.mark.slow
def test_what_auto_became_is_written_down(tiny: tuple[str, ...], run_folder: FindFolder) -> None:
    train_here(*tiny, "train.steps=7")
    (start,) = RunFolder(run_folder()).source.starts()
    became: dict[str, Any] = {
        "device": "cpu",
        "gpu": None,
        "cuda": None,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "precision": "float32",
        "attention": "banded",
        "processes": 1,
        "threads": 1,
    }
    assert became.items() <= start.items()


@pytest.mark.slow
def test_a_start_unlike_the_one_before_is_told_in_one_line(
    tiny: tuple[str, ...], run_folder: FindFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(*tiny, "train.steps=7")
    folder = RunFolder(run_folder())
    (begun,) = folder.source.starts()
    assert "not as when" not in folder.log.read_text()
    folder.set_status(State.RESUMABLE, 7)
    packages = {**begun["packages"], "torch": "2.8.0"}
    elsewhere = {"host": "node7", "threads": 4, "commit": 40 * "c", "packages": packages}
    write_json(folder.path / "source.json", [{**begun, **elsewhere}])
    capsys.readouterr()
    train_here(*tiny, "train.steps=7")
    told = capsys.readouterr().out.splitlines()
    line = told[told.index("going on from step 7") + 1]
    torch_now, commit_now = begun["packages"]["torch"], begun["commit"][:9]
    assert line == (
        f"not as when it was last started: host node7, now {begun['host']} · threads 4, now 1 · "
        f"torch 2.8.0, now {torch_now} · commit {9 * 'c'}, now {commit_now}"
    )
    assert line in folder.log.read_text()
    assert [entry["host"] for entry in folder.source.starts()] == ["node7", begun["host"]]


def test_which_of_several_equal_gpus_it_is_makes_no_difference() -> None:
    now = {"device": "cuda:1", "gpu": "NVIDIA H200", "host": "node2", "threads": 8}
    written_before = {"device": "cuda:0 NVIDIA H200", "threads": 8}
    assert differences(written_before, now) == []
    other = {**written_before, "device": "cpu", "threads": 4, "host": "node1"}
    assert differences(other, now) == [
        "host node1, now node2",
        "device cpu, now NVIDIA H200",
        "threads 4, now 8",
    ]
    assert inexact(other, now) == ["device cpu", "threads 4"], "wherever it is"


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_damaged_file_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text(content)
    with pytest.raises(RunError, match=r"source\.json: damaged"):
        Source(tmp_path / "source.json").starts()
