"""Tables for papers and scripts have the figures of the groups, exactly."""

from __future__ import annotations

import csv
import io
import json

from adaspan.report.comparison import Comparison
from adaspan.report.export import to_csv, to_json, to_markdown
from tests.report.conftest import ODD

FIGURES = {
    "valid_bpc": "valid_bpc",
    "valid_bpc_std": "spread",
    "test_bpc": "test_bpc",
    "span_mean": "span_mean",
    "span_max": "span_max",
    "paper_macs_per_token": "macs_per_token",
    "executed_flops_per_token": "flops_per_token",
    "executed_training_flops": "training_flops",
    "tokens_per_second": "tokens_per_second",
    "seconds": "seconds",
}


def test_csv_and_json_have_exact_figures_and_what_became_of_runs(comparison: Comparison) -> None:
    table = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    told = json.loads(to_json(comparison, margin=0.02))["groups"]
    for group, row, one in zip(comparison.groups, table, told, strict=True):
        for key, figure in FIGURES.items():
            value = getattr(group, figure)
            assert row[key] == ("" if value is None else str(value))
            assert one[key] == value
        assert (row["seeds_done"], row["seeds"]) == (str(len(group.done)), str(len(group.runs)))
        assert [run["folder"] for run in one["runs"]] == [str(run.folder) for run in group.runs]
        for told_of_run, run in zip(one["runs"], group.runs, strict=True):
            assert told_of_run["valid_bpc"] == run.last.get("final/valid_bpc")
            assert told_of_run["span_max"] == run.last.get("span/max")
    failed = table[-1]
    assert (failed["span.limit"], failed["state"]) == (ODD, "failed")
    assert failed["error"] == f"code: KeyError: {ODD}"
    assert [run["state"] for run in told[3]["runs"]] == ["done", "done", "resumable"]


def test_markdown_has_a_cell_for_each_column_whatever_the_names(comparison: Comparison) -> None:
    markdown = to_markdown(comparison, margin=0.02)
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(comparison.groups)
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
    best = comparison.done[0]
    assert f"| {best.valid_bpc:.3f} ± {best.spread:.3f} |" in markdown or best.spread is None
    assert r"\<script>" in table[-1]
    assert markdown.count("\n- ") == 3, "a line for each run that is not done"
