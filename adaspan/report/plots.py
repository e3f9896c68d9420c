"""The plots of a comparison, drawn by plotly; colours of text and page are the page's."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import qualitative, sample_colorscale
from plotly.subplots import make_subplots

from adaspan.report.comparison import Comparison, Group

_BPC = "bpc on valid"
_MACS = "multiply-adds a token"


def all_plots(comparison: Comparison) -> dict[str, go.Figure]:
    """Every plot for which there are figures, by name."""
    plots = {
        "bpc_by_tokens": curves(comparison, "tokens"),
        "bpc_by_flops": curves(comparison, "flops"),
        "span_limits": span_limits(comparison),
        "pareto": pareto(comparison),
        "parameters": parameters(comparison),
    }
    return {name: figure for name, figure in plots.items() if figure.data}


def curves(comparison: Comparison, against: str) -> go.Figure:
    """Quick bpc on valid against tokens read or FLOPs of training, a line a group, a band over
    seeds.
    """
    figure = go.Figure()
    colours = _colours(len(comparison.groups))
    for group, colour in zip(comparison.groups, colours, strict=True):
        curve = group.curve()
        if curve is None:
            continue
        x = curve.tokens if against == "tokens" else curve.flops
        if curve.spread.any():
            band = np.concatenate([curve.bpc + curve.spread, (curve.bpc - curve.spread)[::-1]])
            figure.add_scatter(
                x=np.concatenate([x, x[::-1]]),
                y=band,
                fill="toself",
                fillcolor=colour,
                opacity=0.2,
                line_width=0,
                hoverinfo="skip",
                showlegend=False,
                legendgroup=group.label,
            )
        figure.add_scatter(
            x=x,
            y=curve.bpc,
            name=_text(group.label),
            legendgroup=group.label,
            mode="lines+markers" if len(x) < 3 else "lines",
            line_color=colour,
        )
    figure.update_xaxes(title="tokens" if against == "tokens" else "FLOPs of training, executed")
    figure.update_yaxes(title=_BPC + ", quick")
    return figure


def span_limits(comparison: Comparison) -> go.Figure:
    """Figure 3 of the paper: bpc, average span and cost against the limit, a line a kind of span.

    Groups that differ in more than the kind and the limit get lines of their own.
    """
    panels: Sequence[tuple[str, Callable[[Group], float | None]]] = (
        (_BPC, lambda group: group.valid_bpc),
        ("average span", lambda group: group.span_mean),
        (_MACS, lambda group: group.macs_per_token),
    )
    figure = make_subplots(1, 3, horizontal_spacing=0.08)
    lines: dict[str, list[Group]] = {}
    for group in comparison.done:
        rest = {k: v for k, v in group.varies.items() if k not in ("span", "span.limit")}
        name = " ".join([group.span_kind, *(f"{key}={value}" for key, value in rest.items())])
        lines.setdefault(name, []).append(group)
    for (name, groups), colour in zip(lines.items(), _colours(len(lines)), strict=True):
        groups.sort(key=lambda group: group.span_limit)
        for column, (_, value) in enumerate(panels, 1):
            figure.add_scatter(
                row=1,
                col=column,
                x=[group.span_limit for group in groups],
                y=[value(group) for group in groups],
                error_y_array=[group.spread or 0.0 for group in groups] if column == 1 else None,
                name=_text(name),
                legendgroup=name,
                showlegend=column == 1,
                mode="lines+markers",
                line_color=colour,
            )
    limits = sorted({group.span_limit for group in comparison.done})
    for column, (title, _) in enumerate(panels, 1):
        figure.update_xaxes(title="span limit S", type="log", tickvals=limits, col=column)
        figure.update_yaxes(
            title=title, rangemode="normal" if column == 1 else "tozero", col=column
        )
    return figure


def pareto(comparison: Comparison) -> go.Figure:
    """Bpc against the cost of a token, and the groups that no other beats in both."""
    figure = go.Figure()
    front = comparison.pareto_front()
    for name, groups, mode in (
        ("all", comparison.done, "markers"),
        ("no other is better and cheaper", front, "lines+markers"),
    ):
        figure.add_scatter(
            x=[group.macs_per_token for group in groups],
            y=[group.valid_bpc for group in groups],
            error_y_array=[group.spread or 0.0 for group in groups],
            text=[_text(group.label) for group in groups],
            name=name,
            mode=mode,
            hovertemplate="%{text}<br>%{y:.3f} bpc, %{x:.3s}<extra></extra>",
        )
    figure.update_xaxes(title=f"{_MACS}, as the paper counts", type="log")
    figure.update_yaxes(title=_BPC)
    return figure if comparison.done else go.Figure()


def parameters(comparison: Comparison) -> go.Figure:
    """A line a group through all that varies, to its bpc and its cost."""
    groups = comparison.done
    if len(groups) < 2 or not comparison.varied:
        return go.Figure()
    bpc = [group.valid_bpc or 0.0 for group in groups]
    dimensions = [
        _dimension(key, [group.varies.get(key, "") for group in groups])
        for key in comparison.varied
    ]
    dimensions += [
        {"label": _BPC, "values": bpc},
        {"label": _MACS, "values": [group.macs_per_token for group in groups]},
    ]
    return go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={"color": bpc, "colorscale": "Viridis", "showscale": True},
        )
    )


def _dimension(key: str, values: Sequence[str]) -> dict[str, object]:
    """An axis: numbers as they are, words one above the other."""
    numbers = _numbers(values)
    if numbers is not None:
        return {"label": _text(key), "values": numbers}
    words = sorted(set(values))
    return {
        "label": _text(key),
        "values": [words.index(value) for value in values],
        "tickvals": list(range(len(words))),
        "ticktext": [_text(word) for word in words],
    }


def _numbers(values: Sequence[str]) -> NDArray[np.float64] | None:
    try:
        return np.array([float(value) for value in values])
    except ValueError:
        return None


def _colours(count: int) -> list[str]:
    """Well apart if few, in order if many."""
    if count <= len(qualitative.D3):
        return list(qualitative.D3[:count])
    colours: list[str] = sample_colorscale("Turbo", np.linspace(0.05, 0.95, count).tolist())
    return colours


def _text(label: str) -> str:
    """Plotly reads some HTML in labels; a name stays text."""
    return html.escape(label, quote=False)
