"""The code of queued jobs: all that launch.py needs, once a content."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from adaspan.slurm.snapshot import take


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small project in a repository, with an uncommitted change."""
    root = tmp_path / "project"
    for file in ("adaspan/model.py", "conf/config.yaml", "sweeps/figure.yaml", "launch.py"):
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
    (root / "notes.txt").write_text("left out")
    (root / "adaspan" / ".#model.py").symlink_to("somebody@host.1")  # an editor's, to nothing
    snapshot = take(root, tmp_path / "code")
    assert (snapshot / "adaspan" / "model.py").read_text() == "second\n"
    assert (snapshot / "conf" / "sweeps" / "figure.yaml").exists()
    assert not list(snapshot.rglob("*.pyc"))
    assert not (snapshot / "notes.txt").exists()
    source = json.loads((snapshot / "source.json").read_text())
    assert len(source["commit"]) == 40
    assert "+second" in source["diff"]


def test_the_same_code_is_kept_once_and_an_edit_is_another(root: Path, tmp_path: Path) -> None:
    first = take(root, tmp_path / "code")
    assert take(root, tmp_path / "code") == first
    (root / "launch.py").write_text("edited\n")
    second = take(root, tmp_path / "code")
    assert second != first
    assert (first / "launch.py").read_text() == "first\n"
    assert sorted((tmp_path / "code").iterdir()) == sorted([first, second]), "nothing left over"
