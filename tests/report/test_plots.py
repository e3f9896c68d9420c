"""What the plots say of groups and of runs, before anything draws them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adaspan.report.comparison import Comparison
from adaspan.report.curves import curves
from adaspan.report.plots import all_plots, pareto, span_limits
from adaspan.report.style import log_ticks, looks, text
from tests.report.conftest import ODD

CURVES = ("tokens", "flops")


def named(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data if trace.name}


def test_there_is_a_plot_for_every_question(comparison: Comparison) -> None:
    assert list(all_plots(comparison)) == [
        "span_limits",
        "pareto",
        "valid_by_tokens",
        "valid_by_flops",
        "spans",
        "layers",
        "parameters",
    ]


@pytest.mark.slow
def test_a_group_looks_the_same_everywhere(comparison: Comparison) -> None:
    found = looks(comparison)
    assert len({look.colour for look in found}) == len(found)
    assert {
        group.span_kind: look.marker for group, look in zip(comparison.groups, found, strict=True)
    } == {
        "fixed": "square",
        "adaptive": "circle",
    }
    for group, look in zip(comparison.groups[:4], found, strict=False):
        assert named(pareto(comparison))[group.short_label].marker.color == look.colour
        for against in CURVES:
            assert named(curves(comparison, against))[group.short_label].line.color == look.colour
        panel = named(span_limits(comparison))[group.span_kind]
        assert panel.marker.color[panel.x.index(group.span_limit)] == look.colour


@pytest.mark.parametrize("against", CURVES)
def test_curves_that_are_not_done_are_dashed_and_end_where_the_run_ended(
    comparison: Comparison, against: str
) -> None:
    drawn = named(curves(comparison, against))
    assert list(drawn) == [
        "fixed, limit 12",
        "fixed, limit 24",
        "adaptive, limit 12",
        "adaptive, limit 24",
        "adaptive, limit 24, seed 3: resumable",
        text(f"adaptive, limit {ODD}, seed 1: failed"),
    ]
    for name, trace in drawn.items():
        assert trace.line.dash == ("dash" if "seed" in name else None)
    *_, stopped, failed = drawn.values()
    assert (stopped.marker.symbol, failed.marker.symbol) == ("circle-open", "x")
    assert [point[0] for point in stopped.customdata] == [6, 12]
    assert [point[0] for point in failed.customdata] == [6, 12, 18]


def test_bands_are_one_standard_deviation_around_groups_with_several_seeds(
    comparison: Comparison,
) -> None:
    bands = [trace for trace in curves(comparison, "tokens").data if trace.fill]
    groups = [group for group in comparison.groups if len(group.done) > 1]
    for band, group in zip(bands, groups, strict=True):
        curve = group.curve()
        assert curve is not None
        upper, lower = np.split(np.asarray(band.y), 2)
        assert upper - curve.valid == pytest.approx(curve.spread)
        assert curve.valid - lower[::-1] == pytest.approx(curve.spread)


def test_the_panels_of_figure_3_have_a_line_for_each_kind_of_span(comparison: Comparison) -> None:
    traces = span_limits(comparison).data
    assert [trace.name for trace in traces] == ["fixed"] * 3 + ["adaptive"] * 3
    by_limit = {
        (group.span_kind, group.span_limit): (
            group.valid,
            group.span_mean,
            group.cost,
        )
        for group in comparison.done
    }
    for trace, panel in zip(traces, (0, 1, 2) * 2, strict=True):
        assert trace.x == (12, 24)
        assert trace.y == tuple(by_limit[trace.name, limit][panel] for limit in trace.x)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.7e9, 8e9], ["1G", "2G", "5G"]),
        ([3.1e6, 3.9e6], ["3.1M", "3.48M", "3.9M"]),
        ([450.0, 1.2e3], ["500", "1k"]),
        ([2e6, 2e6], ["2M"]),
    ],
)
def test_the_numbers_of_a_short_logarithmic_axis_stand_apart(
    values: list[float], expected: list[str]
) -> None:
    assert log_ticks(np.array(values))["ticktext"] == expected


def test_a_long_logarithmic_axis_has_powers_of_ten() -> None:
    assert log_ticks(np.array([1e3, 1e9])) == {"dtick": 1, "minor": {"ticks": "outside"}}
