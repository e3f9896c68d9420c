"""Whoever starts a run from its folder does so with one command."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from adaspan.runs.command import started, threads, typed


def test_a_process_and_a_person_start_a_run_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("two words")
    flags = ["--config-path", str(tmp_path / "two words"), "--config-name", "config"]
    assert started(folder, Path("launch.py")) == [sys.executable, "launch.py", *flags]
    words = shlex.split(typed(folder, "train.seed=2"))
    assert words[-5:] == [*flags, "train.seed=2"]


def test_the_threads_that_a_user_names_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads(3) == {"OMP_NUM_THREADS": "3"}
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert threads(3) == {}
