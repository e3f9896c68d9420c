"""Every figure has one name, and rows of before have it, too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adaspan.config.kinds.registry import KINDS
from adaspan.errors import UserError
from adaspan.report.comparison import compare
from adaspan.runs import figures
from adaspan.runs.failures import State
from adaspan.runs.figures import Figure
from adaspan.runs.figures.__main__ import documentation
from adaspan.runs.figures.own import check_own_keys
from adaspan.runs.figures.rows import head_span_key, head_spans
from adaspan.runs.folder import RunFolder
from adaspan.runs.measures import BPB, BPC
from adaspan.status.state import read_states
from tests.conftest import ROOT
from tests.processes import train_here


def test_the_page_of_figures_is_up_to_date() -> None:
    page = (ROOT / "docs" / "figures.md").read_text()
    assert page == documentation(), "python -m adaspan.runs.figures > docs/figures.md"


def test_heads_come_in_the_order_of_their_numbers() -> None:
    row = {
        head_span_key(layer, head): 12.0 * layer + head for layer in range(2) for head in range(12)
    }
    spans = head_spans({"step": 3, "span/mean": 2.0, **row})
    assert [span for _, _, span in spans] == [float(number) for number in range(24)]
    assert spans[11] == (0, 11, 11.0)
    assert head_spans({"step": 3, "span/mean": 2.0}) == []


@pytest.mark.parametrize(
    "key",
    ["final/valid_bpb", "final_valid_bpb", "span/layer_00/head_1", "span/heatmap", "span_heatmap"],
)
def test_a_figure_of_ones_own_cannot_take_the_name_of_ours(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "figure", {key: len})
    with pytest.raises(UserError, match=f'register."figure", "{key}".: this key belongs to a b'):
        check_own_keys()


@pytest.mark.parametrize("key", ["final/valid_bpb", "final_valid_bpb"])
def test_two_figures_cannot_share_a_name(key: str) -> None:
    with pytest.raises(ValueError, match="final/valid_bpb is declared already"):
        figures.register(Figure(key, "mine", "my own"))
    assert figures.figure_of("final/valid_bpb") is figures.VALID.of(BPB)


def test_ranks_put_the_best_first_and_those_without_a_value_last() -> None:
    assert sorted([3.0, None, 1.0], key=figures.VALID.of(BPB).rank) == [1.0, 3.0, None]
    assert sorted([3.0, None, 1.0], key=figures.TOKENS_PER_SECOND.rank) == [3.0, 1.0, None]
    with pytest.raises(ValueError, match="span/mean: has no better and worse"):
        figures.SPAN_MEAN.rank(3.0)


def test_an_axis_has_the_unit() -> None:
    assert figures.SPAN_MEAN.axis == "mean span, tokens"
    assert figures.VALID.of(BPC).axis == "bpc on valid", "which is a unit itself"


# What a run wrote before each figure had one name, and bits per byte one of their own.
BEFORE = {
    "train/bpb": "train/bpc",
    "final/valid_bpb": "final/valid_bpc",
    "final/test_bpb": "final/test_bpc",
    "valid/bpb": "val/bpc",
    "best/valid_bpb": "best/val_bpc",
    "last/valid_bpb": "last/val_bpc",
}


def as_before(folder: Path) -> None:
    """Rewrite the rows under the keys of before."""
    metrics = folder / "metrics.jsonl"
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    old = [{BEFORE.get(key, key): value for key, value in row.items()} for row in rows]
    metrics.write_text("".join(json.dumps(row) + "\n" for row in old))
    assert '"val/bpc"' in metrics.read_text()


@pytest.mark.slow
def test_rows_of_before_are_read_and_gone_on_with(tiny: tuple[str, ...], tmp_path: Path) -> None:
    train_here(*tiny)
    (undisturbed,) = (tmp_path / "runs").iterdir()
    folder = Path(shutil.copytree(undisturbed, tmp_path / "before" / undisturbed.name))
    as_before(folder)

    rows = RunFolder(undisturbed).rows()
    assert RunFolder(folder).rows() == rows
    (state,) = read_states({folder: {}})
    assert (state.valid, state.test) == (rows[-1]["final/valid_bpb"], rows[-1]["final/test_bpb"])
    (run,) = compare("before", {folder: {}}).runs
    assert run.is_done
    assert [row["valid/bpb"] for row in run.evaluations] == [
        row["valid/bpb"] for row in rows if "valid/bpb" in row
    ]

    max((folder / "checkpoints").glob("step_*.pt")).unlink()  # as a kill would have left it
    RunFolder(folder).set_status(State.RUNNING, 56)
    train_here(*tiny, f"output_dir={tmp_path / 'before'}")
    again = RunFolder(folder).rows()
    assert [row.keys() for row in again] == [row.keys() for row in rows]
    assert again[-1]["final/valid_bpb"] == rows[-1]["final/valid_bpb"]
    assert '"val/bpc"' not in (folder / "metrics.jsonl").read_text()
