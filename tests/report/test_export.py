"""Tables for papers and scripts have the figures of the groups, exactly."""

from __future__ import annotations

import csv
import io
import json

from adaspan.report.comparison import Comparison
from adaspan.report.export import Part, to_csv, to_json, to_markdown
from adaspan.runs import figures
from adaspan.runs.measures import BPB
from tests.report.conftest import ODD

MEANS = (
    figures.VALID.of(BPB),
    figures.TEST.of(BPB),
    figures.SPAN_MEAN,
    figures.SPAN_MAX,
    figures.PAPER_MACS,
    figures.EXECUTED_FLOPS,
    figures.TRAINING_FLOPS,
)


def test_csv_and_json_have_exact_figures_and_what_became_of_runs(comparison: Comparison) -> None:
    table = list(csv.DictReader(io.StringIO(to_csv([Part(comparison, 0.02)]))))
    message = json.loads(to_json([Part(comparison, 0.02)]))["groups"]
    for group, row, one in zip(comparison.groups, table, message, strict=True):
        expected = {
            **{figure.key: group.mean(figure) for figure in MEANS},
            "final/valid_bpb_std": group.spread,
            "perf/tokens_per_second": group.tokens_per_second,
            "seconds": group.seconds,
        }
        for key, value in expected.items():
            assert row[key] == ("" if value is None else str(value))
            assert one[key] == value
        assert (row["seeds_done"], row["seeds"]) == (str(len(group.done)), str(len(group.runs)))
        assert [run["folder"] for run in one["runs"]] == [str(run.path) for run in group.runs]
        for told_of_run, run in zip(one["runs"], group.runs, strict=True):
            assert told_of_run["final/valid_bpb"] == run.last.get("final/valid_bpb")
            assert told_of_run["span/max"] == run.last.get("span/max")
    failed = table[-1]
    assert (failed["span.limit"], failed["state"]) == (ODD, "failed")
    assert failed["error"] == f"code: KeyError: {ODD}"
    assert [run["state"] for run in message[3]["runs"]] == ["done", "done", "resumable"]


def test_markdown_has_a_cell_for_each_column_whatever_the_names(comparison: Comparison) -> None:
    markdown = to_markdown(comparison, margin=0.02)
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(comparison.groups)
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
    best = comparison.done[0]
    assert f"| {best.valid:.3f} ± {best.spread:.3f} |" in markdown or best.spread is None
    assert r"\<script>" in table[-1]
    assert markdown.count("\n- ") == 3, "a line for each run that is not done"
