"""The plots of a comparison, drawn by plotly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from adaspan.report.comparison import Comparison
from adaspan.report.curves import curves
from adaspan.report.groups import Group
from adaspan.report.labels import in_short
from adaspan.report.layers import layers
from adaspan.report.parameters import parameters
from adaspan.report.ranking import Ranking, lowest_so_far
from adaspan.report.recall import recall
from adaspan.report.spans import spans
from adaspan.report.style import (
    COUNTS,
    FEW,
    GREY,
    log_ticks,
    look_of_kind,
    looks,
    name_x,
    name_y,
    plain,
    text,
)
from adaspan.report.token_spans import token_spans
from adaspan.runs import figures


def all_plots(comparison: Comparison) -> dict[str, go.Figure]:
    """Every plot that has something to show, by name."""
    over_distances = recall(comparison)
    plots = {
        "recall": over_distances,
        # Where distances were varied, limits are lines of that plot.
        "span_limits": go.Figure() if over_distances.data else span_limits(comparison),
        "pareto": pareto(comparison),
        "valid_by_tokens": curves(comparison, "tokens"),
        "valid_by_flops": curves(comparison, "flops"),
        "spans": spans(comparison),
        "layers": layers(comparison),
        "token_spans": token_spans(comparison),
        "parameters": parameters(comparison),
    }
    return {name: figure for name, figure in plots.items() if figure.data}


def span_limits(comparison: Comparison) -> go.Figure:
    """Figure 3 of the paper: score, mean span and cost against the limit, a line a kind of span.

    Groups that differ in more than the kind and the limit get lines of their own.
    """
    panels: Sequence[tuple[str, Callable[[Group], float | None], dict[str, object]]] = (
        (
            figures.VALID.of(comparison.measure).axis,
            lambda group: group.valid,
            {"hoverformat": comparison.measure.hover},
        ),
        (figures.SPAN_MEAN.axis, lambda group: group.span_mean, {"hoverformat": ".1f"}),
        (
            figures.EXECUTED_FLOPS.axis,
            lambda group: group.cost,
            {"tickformat": COUNTS, "hoverformat": ".3s", "rangemode": "tozero"},
        ),
    )
    figure = plain(comparison, make_subplots(1, 3, horizontal_spacing=0.09))
    look_of = dict(zip(map(id, comparison.groups), looks(comparison), strict=True))
    done = [group for group in comparison.groups if group.done]
    limits = sorted({group.span_limit for group in done})
    lines = _lines(done)
    if len(limits) < 2:
        return figure
    for kind, names in lines.items():
        for index, (name, groups) in enumerate(names.items()):
            groups.sort(key=lambda group: group.span_limit)
            look = look_of_kind(kind, index, len(names))
            for column, (_, value, _) in enumerate(panels, 1):
                figure.add_scatter(
                    row=1,
                    col=column,
                    x=[group.span_limit for group in groups],
                    y=[value(group) for group in groups],
                    error_y=_spreads(groups) if column == 1 else None,
                    name=text(name),
                    legendgroup=name,
                    showlegend=column == 1,
                    mode="lines+markers",
                    line_color=look.colour,
                    marker={
                        "symbol": look.marker,
                        "size": 9,
                        "color": [look_of[id(group)].colour for group in groups],
                    },
                    hovertemplate="<b>%{fullData.name}</b>, S = %{x}<br>%{y}<extra></extra>",
                )
    name_x(figure, "span limit S", type="log", tickvals=_apart(limits), tickformat="d")
    for column, (title, _, axis) in enumerate(panels, 1):
        name_y(figure, title, col=column, **axis)
    if all(group.span_mean for group in done):
        figure.update_yaxes(type="log", nticks=6, tickformat="~g", col=2)
    return figure.update_layout(showlegend=sum(map(len, lines.values())) <= FEW)


def pareto(comparison: Comparison) -> go.Figure:
    """The score on valid against the cost of a token, and the Pareto front of each text: a line
    through what was measured, and a ring around each group than which no cheaper one is better.
    """
    figure = plain(comparison)
    if not any(group.cost for group in comparison.done):
        return figure
    for ranking in comparison.rankings:
        _add_lowest_so_far(figure, ranking)
    front = [group for ranking in comparison.rankings for group in ranking.pareto_front()]
    for group, look in zip(comparison.groups, looks(comparison), strict=True):
        if not group.cost:
            continue
        figure.add_scatter(
            x=[group.cost],
            y=[group.valid],
            error_y=_spreads([group]),
            name=text(group.short_label),
            legendgroup=group.label,
            mode="markers",
            marker={
                "symbol": look.marker,
                "size": 11,
                "color": look.colour,
                "line": {"width": 2 if group in front else 0, "color": GREY},
            },
            hovertemplate="<b>%{fullData.name}</b><br>"
            f"%{{y:{comparison.measure.hover}}} {comparison.measure.name}"
            f"<br>%{{x:.3s}} {figures.EXECUTED_FLOPS.axis}<extra></extra>",
        )
    costs = np.array([group.cost for group in comparison.done if group.cost])
    name_x(figure, figures.EXECUTED_FLOPS.axis, type="log", tickformat=COUNTS, **log_ticks(costs))
    name_y(figure, figures.VALID.of(comparison.measure).axis)
    return figure


def _add_lowest_so_far(figure: go.Figure, ranking: Ranking) -> None:
    steps = lowest_so_far(ranking.groups)
    if not steps:
        return
    dearest = max(group.cost or 0.0 for group in ranking.groups)
    figure.add_scatter(
        x=[*(group.cost for group in steps), dearest],
        y=[*(group.valid for group in steps), steps[-1].valid],
        name="lowest so far",
        mode="lines",
        line={"color": GREY, "shape": "hv", "dash": "dot"},
        hoverinfo="skip",
    )


def _lines(groups: Iterable[Group]) -> dict[str, dict[str, list[Group]]]:
    """Groups by kind of span and by all else than the limit."""
    by_kind: dict[str, dict[str, list[Group]]] = {}
    for group in groups:
        rest = {k: v for k, v in group.varies.items() if k not in ("span", "span.limit")}
        name = in_short({"span": group.span_kind} | rest)
        by_kind.setdefault(group.span_kind, {}).setdefault(name, []).append(group)
    return by_kind


def _spreads(groups: Sequence[Group]) -> dict[str, object]:
    """Error bars over seeds."""
    return {"array": [group.spread or 0.0 for group in groups], "thickness": 1.2, "width": 4}


def _apart(limits: Sequence[int]) -> list[int]:
    """Those limits that have room for their number on a logarithmic axis."""
    kept: list[int] = []
    room = np.log(limits[-1] / limits[0]) / 6 if limits else 0.0
    for limit in limits:
        if not kept or np.log(limit / kept[-1]) >= 0.99 * room:
            kept.append(limit)
    return kept
