"""Runs beside the papers' rows that they repeat."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from adaspan.config.resolved import flat, read_values, to_yaml
from adaspan.nn.flops import Shape, mean_span_at, paper_macs_per_token
from adaspan.report.comparison import Comparison, compare
from adaspan.report.export import Part, to_csv, to_json, to_markdown
from adaspan.report.page import write_page
from adaspan.report.paper import PaperRow, against_paper, paper_rows
from adaspan.report.terminal import to_text
from adaspan.runs import figures
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.train.build import make_model
from tests.conftest import ROOT, compose_run
from tests.report.sweeps import group, sweep

EXPERIMENTS = [row for row in paper_rows() if row.experiment]
of_experiment = pytest.mark.parametrize("row", EXPERIMENTS, ids=lambda row: row.experiment)


def values_of(tmp_path: Path, *overrides: str) -> dict[str, object]:
    """The configuration of a run, as a report reads it."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir(exist_ok=True)
    (folder.path / "config.yaml").write_text(to_yaml(compose_run(*overrides)))
    return flat(read_values(folder.path))


@pytest.mark.slow
@of_experiment
def test_an_experiment_is_the_papers_run_in_every_value_that_is_known(
    row: PaperRow, tmp_path: Path
) -> None:
    values = values_of(tmp_path, f"experiment={row.experiment}")
    assert [other.row for other in paper_rows() if other.has(values)] == [row.row]
    assert row.differences(values) == []


@of_experiment
def test_an_experiment_opens_with_what_the_paper_prints(row: PaperRow) -> None:
    text = (ROOT / "conf" / "experiment" / f"{row.experiment}.yaml").read_text()
    header = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    for title in ("Command", "Row", "Cost", "Parameters", "Expected", "Precision", "Time"):
        assert f" {title} " in header
    for key, value in row.figures.items():
        words = [f"{value:.2f}", f"{value:.1f}", f"{value:.0f}", f"{value / 1e6:.0f}M"]
        assert any(word in header for word in words), key


@pytest.mark.slow
@of_experiment
def test_an_experiment_opens_with_the_flops_that_are_counted(row: PaperRow) -> None:
    text = (ROOT / "conf" / "experiment" / f"{row.experiment}.yaml").read_text()
    told = re.search(
        r"^# FLOPs +(\S+)M multiply-adds per token at a mean span of (\d+)\b", text, re.M
    )
    assert told
    model = compose_run(f"experiment={row.experiment}").model
    shape = Shape(model.layers, model.dim, model.heads, model.ffn_dim, 27, model.persistent)
    assert told[1] == f"{paper_macs_per_token(shape, int(told[2])) / 1e6:.1f}"


@pytest.mark.parametrize(
    ("experiment", "ffn_dim", "mean_span"), [("enwik8", 2048, 265), ("enwik8_large", 3072, 302)]
)
def test_table_2_prints_flops_without_a_mean_span_so_that_only_the_span_follows(
    experiment: str, ffn_dim: int, mean_span: int
) -> None:
    """Of 41M and 181M: close to the 314 and 245 that Table 1 prints for text8."""
    (row,) = (row for row in EXPERIMENTS if row.experiment == experiment)
    assert figures.SPAN_MEAN.key not in row.figures
    model = compose_run(f"experiment={experiment}").model
    shape = Shape(model.layers, model.dim, model.heads, ffn_dim, vocabulary_size=205)
    printed = row.figures[figures.PAPER_MACS.key]
    assert mean_span_at(shape, printed) == pytest.approx(mean_span, abs=1)


@pytest.mark.slow
@of_experiment
def test_an_experiments_model_has_the_papers_parameters_and_flops(row: PaperRow) -> None:
    config = compose_run(f"experiment={row.experiment}")
    vocabulary = {"text8": 27, "enwik8": 205, "wikitext103": 267_735}[config.data.name]
    with torch.device("meta"):
        model = make_model(config.model, config.span, vocabulary)
    count = sum(parameter.numel() for parameter in model.parameters())
    if figures.PARAMETERS.key in row.figures:
        assert count / 1e6 == pytest.approx(row.figures[figures.PARAMETERS.key] / 1e6, abs=0.55)
    if figures.SPAN_MEAN.key in row.figures:
        of_model = config.model
        if of_model.ffn_dim == 4096:  # what the note says
            of_model = dataclasses.replace(of_model, ffn_dim=3072)
        shape = Shape(of_model.layers, of_model.dim, of_model.heads, of_model.ffn_dim, vocabulary)
        macs = paper_macs_per_token(shape, row.figures[figures.SPAN_MEAN.key])
        printed = row.figures[figures.PAPER_MACS.key]
        assert macs / 1e6 == pytest.approx(printed / 1e6, abs=0.5)


FIGURES = {
    "final/valid_bpc": 1.0523,
    "final/test_bpc": 1.112,
    "span/mean": 301.26,
    "span/max": 4000.0,
    "flops/paper_macs_per_token": 41_450_000,
    "parameters": 38_356_091,
}

EVALUATION = {
    "tokens": 100,
    "valid/bpc": 1.07,
    "flops/executed_training": 1e9,
    "perf/tokens_per_second": 1e3,
    "span/layer_00/head_0": 301.26,
}


def run_of(folder: Path, row: Mapping[str, float], *overrides: str) -> Path:
    """What a run of these values leaves that ends with these figures."""
    folder.mkdir()
    run = RunFolder(folder)
    run.freeze(to_yaml(compose_run(*overrides)), "f" * 64)
    if row:
        rows = [{"step": 5, **EVALUATION}, {"step": 5, **row}]
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        run.set_status(State.DONE, 5)
    return folder


@pytest.fixture
def repeated(tmp_path: Path) -> Comparison:
    """A run of the paper, one that was trained otherwise, one not done, one that is no paper's."""
    text8 = run_of(tmp_path / "text8", FIGURES, "experiment=text8")
    short = run_of(
        tmp_path / "short",
        FIGURES,
        "experiment=text8_large",
        "train.steps=90000",
        "train.precision=bfloat16",
    )
    waiting = run_of(tmp_path / "waiting", {}, "experiment=enwik8")
    own = run_of(tmp_path / "own", FIGURES, "experiment=text8", "model.layers=3")
    folders = {"text8": text8, "short": short, "enwik8": waiting, "own": own}
    return compare("papers", {path: {"experiment": name} for name, path in folders.items()})


@pytest.mark.slow
def test_a_run_stands_above_the_row_that_it_repeats(repeated: Comparison) -> None:
    against = against_paper(repeated)
    assert against.titles == [
        "run",
        "valid bpc",
        "test bpc",
        "parameters",
        "mean span",
        "paper MACs",
    ]
    own, papers, *_ = against.table()
    assert own == ["experiment=text8", "1.052", "1.112", "38.4M", "301.3", "41.5M"]
    assert papers == ["paper: text8, 12 layers (Table 1)", "1.05", "1.11", "38M", "314", "42M"]


@pytest.mark.slow
def test_what_was_trained_otherwise_is_not_done_or_is_no_papers_is_said(
    repeated: Comparison,
) -> None:
    remarks = list(against_paper(repeated).remarks())
    assert remarks[0] == (
        "experiment=short: trained otherwise than the paper's: train.precision=bfloat16 (float32), "
        "train.steps=90000 (270000)."
    )
    assert remarks[1] == "experiment=enwik8: not done yet."
    assert remarks[2].startswith("The paper prints 179M multiply-adds, which an inner width of")
    assert remarks[-1].startswith(
        "Nothing in the papers has the data, model and span of: experiment=own. "
        "Runs of these experiments have: text8, text8_large, enwik8,"
    )


@pytest.mark.slow
def test_every_form_of_a_report_has_it(repeated: Comparison, tmp_path: Path) -> None:
    against = against_paper(repeated)
    write_page(repeated, tmp_path / "page.html", 0.02, against)
    texts = {
        "html": (tmp_path / "page.html").read_text(),
        "text": to_text(repeated, 0.02, 120, coloured=False, against=against),
        "md": to_markdown(repeated, 0.02, against),
        "json": to_json([Part(repeated, 0.02, against)]),
    }
    for form, text in texts.items():
        assert "text8, 12 layers (Table 1)" in text, form
        assert "Nothing in the papers has the data, model and span of: experiment=own" in text, form
    first, *_, last = json.loads(texts["json"])["groups"]
    assert (first["paper/final/test_bpc"], last["paper/final/test_bpc"]) == (1.11, None)
    table = list(csv.DictReader(io.StringIO(to_csv([Part(repeated, 0.02, against)]))))
    assert [row["paper/row"] for row in table] == [
        "text8, 12 layers (Table 1)",
        "text8, 24 layers (Table 1)",
        "enwik8, 12 layers (Table 2)",
        "",
    ]
    assert "paper" not in to_csv([Part(repeated, 0.02)]).replace("flops/paper", "")


def test_a_model_with_persistent_memory_beside_its_feed_forward_is_no_papers(
    tmp_path: Path,
) -> None:
    values = values_of(tmp_path, "experiment=enwik8", "model.persistent=64")
    assert not [row for row in paper_rows() if row.has(values)]


def test_a_run_of_a_version_without_persistent_memory_is_found(tmp_path: Path) -> None:
    values = values_of(tmp_path, "experiment=enwik8")
    del values["model.persistent"]
    assert [row.experiment for row in paper_rows() if row.has(values)] == ["enwik8"]


def test_of_many_runs_that_are_no_papers_the_first_are_named() -> None:
    comparison = sweep(*(group(f"{dim}", [1.0]) for dim in range(400)))
    (remark,) = against_paper(comparison).remarks()
    assert remark.startswith(
        "Nothing in the papers has the data, model and span of: model.dim=0; model.dim=1; "
        "model.dim=2; 397 more. Runs of these experiments have: text8,"
    )
