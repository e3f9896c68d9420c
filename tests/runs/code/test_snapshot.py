"""The code of queued jobs: all that launch.py needs, once a content."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adaspan.places import CODE
from adaspan.runs.code.snapshot import take
from adaspan.runs.command import program_of
from tests.conftest import environment


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small project in a repository, with an uncommitted change."""
    root = tmp_path / "project"
    for file in (
        "adaspan/model.py",
        "conf/config.yaml",
        "docs/extending.md",
        "docs/notes.md",
        "launch.py",
        "sweeps/figure.yaml",
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("first\n")
    (root / "conf" / "sweeps").symlink_to("../sweeps")
    git = ["git", "-C", str(root), "-c", "user.name=me", "-c", "user.email=me@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    (root / "adaspan" / "model.py").write_text("second\n")
    return root


def test_it_holds_what_launch_needs_and_how_it_differs_from_the_commit(
    root: Path, tmp_path: Path
) -> None:
    (root / "adaspan" / "__pycache__").mkdir()
    (root / "adaspan" / "__pycache__" / "model.pyc").write_text("left out")
    (root / "adaspan" / ".#model.py").symlink_to("somebody@host.1")  # an editor's, to nothing
    (root / "adaspan" / "model.py").write_text("import mine\n")
    (root / "mine.py").write_text("mine\n")
    snapshot = take(root, tmp_path / "code")
    assert (snapshot / "mine.py").read_text() == "mine\n"
    assert (snapshot / "adaspan" / "model.py").read_text() == "import mine\n"
    assert (snapshot / "conf" / "sweeps" / "figure.yaml").exists()
    assert not list(snapshot.rglob("*.pyc"))
    assert [path.name for path in (snapshot / "docs").iterdir()] == ["extending.md"]
    source = json.loads((snapshot / "source.json").read_text())
    assert len(source["commit"]) == 40
    assert "+import mine" in source["diff"]


def test_the_same_code_is_kept_once_and_an_edit_is_another(root: Path, tmp_path: Path) -> None:
    first = take(root, tmp_path / "code")
    assert take(root, tmp_path / "code") == first
    (root / "launch.py").write_text("edited\n")
    second = take(root, tmp_path / "code")
    assert second != first
    assert (first / "launch.py").read_text() == "first\n"
    assert sorted((tmp_path / "code").iterdir()) == sorted([first, second]), "nothing left over"


@pytest.mark.slow
def test_an_error_of_the_copy_points_to_a_page_of_the_copy(tmp_path: Path) -> None:
    code = take(CODE, tmp_path / "code")
    words = [sys.executable, str(program_of(code)), "span=foo"]
    end = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert end.returncode == 2
    page = tmp_path / end.stderr.rpartition("; ")[2].partition(" ")[0]
    assert page.is_relative_to(code), end.stderr
    assert page.exists()
