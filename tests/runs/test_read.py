"""A run's figures as tables, with pandas and without."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas
import pytest

from adaspan import read
from adaspan.errors import UserError
from adaspan.runs.folder import RunFolder

HEADS = {"span/layer_00/head_0": 1.5, "span/layer_00/head_1": 2.0, "span/layer_01/head_0": 9.0}
ROWS = [
    {"step": 10, "train/bpc": 4.0},
    {"step": 20, "train/bpc": 3.0, "val/bpc": 3.5, **HEADS},  # as older versions wrote it
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = RunFolder(tmp_path / "run")
    run.freeze("train: {}\n", "0" * 64)
    for row in ROWS:
        run.append(row)
    return run.path


def test_rows_and_spans_are_data_frames(folder: Path) -> None:
    rows, spans = read(folder)
    assert isinstance(rows, pandas.DataFrame)
    assert rows["train/bpc"].tolist() == [4.0, 3.0]
    assert rows.set_index("step")["valid/bpc"][20] == 3.5
    assert spans.columns.tolist() == ["step", "layer", "head", "span"]
    assert spans.pivot(index="layer", columns="head", values="span")[0].tolist() == [1.5, 9.0]


def test_without_pandas_they_are_lists(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    rows, spans = read(str(folder))
    assert [row["step"] for row in rows] == [10, 20]
    assert spans[1] == {"step": 20, "layer": 0, "head": 1, "span": 2.0}


def test_a_run_without_evaluations_has_no_spans(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.freeze("train: {}\n", "0" * 64)
    rows, spans = read(run.path)
    assert len(rows) == len(spans) == 0
    assert "span" in spans


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no config\.yaml, it is no run's folder"):
        read(tmp_path)
    with pytest.raises(UserError, match="nowhere: no such folder"):
        read(tmp_path / "nowhere")
