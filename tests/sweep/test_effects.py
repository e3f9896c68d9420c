"""The papers' tables and figures in small, trained in full: each shows what the paper's shows.
So does the sweep of recall streams, whose result is known beforehand.

`make figures` runs them, about half an hour on two cores; `make test` leaves them out.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest

from adaspan.cli.choose import chosen_runs
from adaspan.report.comparison import Comparison, compare
from adaspan.report.groups import Group
from adaspan.report.plots import all_plots
from adaspan.report.recall import farthest
from adaspan.report.token_spans import before_words
from adaspan.runs import figures
from adaspan.runs.folder import RunFolder
from tests.conftest import command

SECONDS = 600  # that a sweep may take on two cores
AS_GOOD = 0.05  # bits a byte that chance may make


def bits(group: Group) -> float:
    assert group.valid is not None
    return group.valid


def cost(group: Group) -> float:
    assert group.macs_per_token is not None
    return group.macs_per_token


def mean_span(group: Group) -> float:
    mean = group.mean(figures.SPAN_MEAN)
    assert mean is not None
    return mean


def by_value(comparison: Comparison, key: str) -> dict[str, list[Group]]:
    """The groups under each value of what they vary."""
    found: dict[str, list[Group]] = {}
    for group in comparison.groups:
        found.setdefault(group.varies[key], []).append(group)
    return found


def learned_spans_are_as_good_and_cheaper(comparison: Comparison) -> None:
    for groups in by_value(comparison, "model.layers").values():
        fixed, learned = sorted(groups, key=lambda group: group.span_kind == "adaptive")
        assert bits(learned) < bits(fixed) + AS_GOOD
        assert cost(learned) < 0.9 * cost(fixed)


def dynamic_spans_are_as_good_as_adaptive_ones_at_much_the_same_mean(
    comparison: Comparison,
) -> None:
    adaptive, dynamic = comparison.groups
    assert max(bits(adaptive), bits(dynamic)) < 1.3  # 3.0 without context, 1.16 with all of it
    assert abs(bits(dynamic) - bits(adaptive)) < AS_GOOD
    means = [mean_span(group) for group in (adaptive, dynamic)]
    assert 20 < min(means) < max(means) < 2 * min(means)
    assert max(means) < 0.5 * adaptive.span_limit


def a_limit_that_reaches_further_is_better_and_learned_spans_stay_cheap(
    comparison: Comparison,
) -> None:
    fixed, learned = by_value(comparison, "span").values()
    assert cost(fixed[-1]) > 1.5 * cost(fixed[0])
    assert cost(learned[-1]) < 0.75 * cost(fixed[-1])
    for one, other in zip(fixed, learned, strict=True):
        assert bits(other) < bits(one) + AS_GOOD
    assert "span_limits" in all_plots(comparison)
    for groups in by_value(comparison, "span").values():
        at_16, at_32, at_64, at_256 = map(bits, groups)
        assert at_16 > at_32 + AS_GOOD > at_64 + 2 * AS_GOOD  # one, two and all three distances
        assert abs(at_64 - at_256) < AS_GOOD


def heads_part_ways(comparison: Comparison) -> None:
    for run in comparison.groups[0].done:
        spans_LH = run.spans()[1][-1]
        assert spans_LH.max() > 3 * spans_LH.min()
    assert "layers" in all_plots(comparison)


def spans_are_longer_where_a_word_is_about_to_begin(comparison: Comparison) -> None:
    for run in comparison.groups[0].done:
        found = json.loads(RunFolder(run.path).token_spans.read_text())
        spans = [fmean(of_layers) for of_layers in found["spans"]]
        marks = before_words(found["text"])
        before = [span for span, mark in zip(spans, marks, strict=True) if mark]
        inside = [
            span for span, symbol in zip(spans, found["text"], strict=True) if symbol.isalpha()
        ]
        assert fmean(before) > 1.3 * fmean(inside)
    assert "token_spans" in all_plots(comparison)


def attention_alone_is_as_good_as_with_a_feed_forward(comparison: Comparison) -> None:
    feed_forward, attention_alone = comparison.groups
    assert bits(attention_alone) < bits(feed_forward) + 2 * AS_GOOD
    sizes = [group.mean(figures.PARAMETERS) for group in (feed_forward, attention_alone)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def heads_look_as_far_as_they_must_where_they_can_learn_it(comparison: Comparison) -> None:
    for group in comparison.groups:
        values, needed = group.first.values, farthest(group) - 1
        ramp = float(str(values["span.ramp"]))
        within = ramp if values["span.initial_fraction"] == 0 else group.span_limit
        assert (bits(group) < 1.3) is (needed <= within), group.label
        reach = group.mean(figures.SPAN_REACH)
        if needed <= within and values["span.loss_coefficient"] == 1e-3:  # a lesser one is slow
            assert reach == pytest.approx(max(needed, ramp + 1), abs=2), group.label
    assert "recall" in all_plots(comparison)


# What each sweep must show.
EFFECTS: dict[str, Callable[[Comparison], None]] = {
    "recall": heads_look_as_far_as_they_must_where_they_can_learn_it,
    "table1_tiny": learned_spans_are_as_good_and_cheaper,
    "table2_tiny": learned_spans_are_as_good_and_cheaper,
    "table3_tiny": dynamic_spans_are_as_good_as_adaptive_ones_at_much_the_same_mean,
    "figure3_tiny": a_limit_that_reaches_further_is_better_and_learned_spans_stay_cheap,
    "figure4_tiny": heads_part_ways,
    "figure5_tiny": spans_are_longer_where_a_word_is_about_to_begin,
    "all_attention_tiny": attention_alone_is_as_good_as_with_a_feed_forward,
}


@pytest.mark.slow
@pytest.mark.figures
@pytest.mark.parametrize("sweep", EFFECTS)
def test_a_small_form_shows_what_the_papers_shows(
    sweep: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "figures"  # runs that two sweeps share: trained once
    folder.mkdir(exist_ok=True)
    words = (
        f"sweeps={sweep}",
        "hydra.launcher.processes=2",
        "tracking=disabled",
        f"output_dir={folder}",
    )
    subprocess.run(command(*words), cwd=folder, check=True, timeout=SECONDS, env=dict(os.environ))
    comparison = compare(*chosen_runs(folder, sweep))
    assert len(comparison.done) == len(comparison.groups)
    EFFECTS[sweep](comparison)


def test_every_small_form_has_an_effect_that_is_looked_at() -> None:
    files = (Path(__file__).parents[2] / "sweeps").glob("*_tiny.yaml")
    assert {"recall", *(file.stem for file in files)} == set(EFFECTS)
