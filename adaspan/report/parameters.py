"""All that was varied, as parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go

from adaspan.report.comparison import Comparison
from adaspan.report.groups import Group
from adaspan.report.labels import by_number, readable
from adaspan.report.style import GREY, looks, styled, text
from adaspan.runs import figures

# An axis with more values than that is a scale; with fewer, each has its own place.
_MOST_VALUES = 10
# From so many times the smallest value on, the scale is logarithmic.
_WIDE = 30
# Of a letter beside an axis, in pixels.
_TICK_WIDTH = 7

_FIGURES: Sequence[tuple[str, Callable[[Group], float | None], str]] = (
    (figures.SPAN_MEAN.axis, lambda group: group.span_mean, "~g"),
    (figures.EXECUTED_FLOPS.axis, lambda group: group.cost, "~s"),
)


def parameters(comparison: Comparison) -> go.Figure:
    """A line a group through all that varies, to its score and what it costs."""
    shown = [
        (group, look)
        for group, look in zip(comparison.groups, looks(comparison), strict=True)
        if group.done
    ]
    if len(shown) < 2 or not comparison.varied:
        return go.Figure()
    groups = [group for group, _ in shown]
    dimensions = [
        _dimension(key, [group.varies.get(key, "") for group in groups])
        for key in comparison.varied
    ]
    valid = figures.VALID.of(comparison.measure)
    dimensions += [
        {"label": valid.axis, **_scale([group.valid or 0.0 for group in groups], "~g")},
        *(
            {"label": label, **_scale([figure(group) or 0.0 for group in groups], form)}
            for label, figure, form in _FIGURES
        ),
    ]
    last = len(shown) - 1
    colours = [[index / last, look.colour] for index, (_, look) in enumerate(shown)]
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": list(range(len(shown))),
                "colorscale": colours,
                "cmin": 0,
                "cmax": last,
            },
            labelfont_size=13,
            tickfont_size=12,
            rangefont={"size": 1, "color": "rgba(0,0,0,0)"},  # the ticks say the same
            unselected_line={"color": GREY, "opacity": 0.15},
        )
    )
    words = dimensions[0].get("ticktext", ())
    left = max(70, _TICK_WIDTH * max(map(len, words), default=0) + 16)
    return styled(figure).update_layout(margin={"l": left, "r": 90, "t": 50, "b": 24})


def _dimension(key: str, values: Sequence[str]) -> dict[str, Any]:
    """An axis."""
    label = text(key)
    distinct = sorted(set(values), key=by_number)
    if len(distinct) > _MOST_VALUES and by_number(distinct[0])[0] > -math.inf:
        return {"label": label, **_scale([float(value) for value in values], "~g")}
    return {
        "label": label,
        "values": [distinct.index(value) for value in values],
        "tickvals": list(range(len(distinct))),
        "ticktext": [text(readable(value)) or "–" for value in distinct],
    }


def _scale(values: Sequence[float], tickformat: str) -> dict[str, Any]:
    if min(values) <= 0 or max(values) < _WIDE * min(values):
        return {"values": values, "tickformat": tickformat}
    places = [math.log10(value) for value in values]
    low, high = min(places), max(places)
    decades = range(math.ceil(low), math.floor(high) + 1)
    return {
        "values": places,
        "tickvals": [low, *decades, high],  # an axis is drawn from its first tick to its last
        "ticktext": ["", *(f"{10**decade:,}" for decade in decades), ""],
    }
