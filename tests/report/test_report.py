"""The figures of a report are those of `metrics.jsonl`, in every format."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from adaspan.config.frozen import to_yaml
from adaspan.report.comparison import Comparison, compare
from adaspan.report.export import to_csv, to_json, to_markdown
from adaspan.report.page import write_page
from adaspan.report.plots import all_plots
from adaspan.report.table import finding
from adaspan.run_folder import RunFolder
from tests.conftest import TINY, compose_run
from tests.runs import rows, train_here

SEEDS = (1, 2)
LIMITS = (12, 24)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, dict[str, str]]:
    """A small real sweep: two limits, two seeds; and one run that failed, with an odd name."""
    folder = tmp_path_factory.mktemp("report")
    text = folder / "sums.txt"
    text.write_text("".join(f"{i % 37} plus {i % 11} is {i % 37 + i % 11}\n" for i in range(250)))
    common = (*TINY, "data=text", f"data.path={text}", f"data_dir={folder}", "train.steps=20")
    found: dict[Path, dict[str, str]] = {}
    for limit in LIMITS:
        for seed in SEEDS:
            output_dir = folder / f"{limit}-{seed}"
            varies = {"span.limit": str(limit), "train.seed": str(seed)}
            overrides = [f"{key}={value}" for key, value in varies.items()]
            train_here(*common, *overrides, f"output_dir={output_dir}")
            (run,) = output_dir.iterdir()
            found[run] = varies
    odd = RunFolder(folder / "<script>alert('odd')<script>")
    odd.freeze(to_yaml(compose_run(*common, "span.limit=8")), "0123")
    odd.set_status("failed", 3, error="code", message='KeyError: "<b>"')
    found[odd.path] = {"span.limit": "<script>8</script>"}
    return found


@pytest.fixture(scope="module")
def comparison(runs: dict[Path, dict[str, str]]) -> Comparison:
    return compare("a <sweep>", runs)


def finals(runs: dict[Path, dict[str, str]], limit: int, key: str) -> list[float]:
    return [
        rows(run)[-1][key] for run, varies in runs.items() if varies["span.limit"] == str(limit)
    ]


def test_groups_are_means_over_seeds(
    comparison: Comparison, runs: dict[Path, dict[str, str]]
) -> None:
    assert [group.label for group in comparison.groups[:2]] == ["span.limit=12", "span.limit=24"]
    for group, limit in zip(comparison.groups, LIMITS, strict=False):
        valid = finals(runs, limit, "final/valid_bpc")
        assert group.valid_bpc == fmean(valid)
        assert group.spread == stdev(valid)
        assert group.test_bpc == fmean(finals(runs, limit, "final/test_bpc"))
        assert group.span_mean == fmean(finals(runs, limit, "span/mean"))
        curve = group.curve()
        assert curve is not None
        assert curve.steps.tolist() == [20]


def test_every_format_has_the_same_figures(comparison: Comparison) -> None:
    table = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    told: dict[str, Any] = json.loads(to_json(comparison, margin=0.02))
    assert [float(row["valid_bpc"]) for row in table[:2]] == [
        group["valid_bpc"] for group in told["groups"][:2]
    ]
    assert [group["valid_bpc"] for group in told["groups"]] == [
        group.valid_bpc for group in comparison.groups
    ]
    assert table[2]["state"] == 'failed: code: KeyError: "<b>"'
    assert told["groups"][2]["valid_bpc"] is None
    markdown = to_markdown(comparison, margin=0.02)
    assert f"{comparison.groups[0].valid_bpc:.3f}" in markdown


def test_the_finding_names_the_best_and_the_cheapest_that_is_nearly_as_good(
    comparison: Comparison,
) -> None:
    best = min(comparison.groups[:2], key=lambda group: group.valid_bpc or 0.0)
    assert finding(comparison, margin=0.0).startswith(f"Best: {best.label}, {best.valid_bpc:.3f}")
    assert comparison.cheapest_within(100.0) is min(
        comparison.groups[:2], key=lambda group: group.macs_per_token or 0.0
    )


def test_the_page_has_every_plot_and_names_stay_text(
    comparison: Comparison, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    write_page(comparison, page, margin=0.02)
    html = page.read_text()
    for plot in all_plots(comparison):
        assert f'data-plot="{plot}"' in html
    assert set(all_plots(comparison)) == {
        "bpc_by_tokens",
        "bpc_by_flops",
        "span_limits",
        "pareto",
        "parameters",
    }
    assert "<title>a &lt;sweep&gt;</title>" in html
    assert "<script>alert" not in html
    assert "<script>8" not in html
    assert 'KeyError: "<b>"' not in html
    assert "default-src 'none'" in html, "the browser itself lets no request out"


def test_runs_without_a_result_are_no_finding(runs: dict[Path, dict[str, str]]) -> None:
    failed = {run: varies for run, varies in runs.items() if "<" in run.name}
    comparison = compare("failed", failed)
    assert finding(comparison, margin=0.02) == "None of the 1 runs is done yet."
    assert not comparison.pareto_front()
