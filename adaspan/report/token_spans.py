"""Dynamic spans over the tokens of a sentence: Figure 5 of the paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from adaspan.files import read_json
from adaspan.report.comparison import Comparison
from adaspan.report.style import GREY, name_x, name_y, styled, text
from adaspan.runs.folder import RunFolder

# Instead of what cannot be seen.
_SHOWN_AS = {" ": "·", "\n": "↵", "\t": "→"}


def token_spans(comparison: Comparison) -> go.Figure:
    """The mean span of each token in the best run whose spans are dynamic.

    Marked are the tokens from which the first letter of a word is predicted.
    """
    group = next((group for group in comparison.done if group.span_kind == "dynamic"), None)
    found = read_json(RunFolder(group.done[0].path).token_spans) if group else {}
    if not group or not found:
        return go.Figure()
    symbols, spans = found["text"], np.array(found["spans"]).mean(1)
    places = np.arange(len(symbols))
    marked = np.array(before_words(symbols))
    figure = styled(go.Figure())
    hover: dict[str, Any] = {
        "customdata": [text(shown(symbol)) for symbol in symbols],
        "hovertemplate": "%{customdata}: %{y:.1f} tokens<extra></extra>",
    }
    figure.add_scatter(
        x=places, y=spans, mode="lines", line={"color": "#009e73", "width": 2}, **hover
    )
    figure.add_scatter(
        x=places[marked],
        y=spans[marked],
        mode="markers",
        marker={"color": "#d55e00", "size": 8},
        hoverinfo="skip",
    )
    for place in places[marked].tolist():
        figure.add_vline(x=place, line={"color": GREY, "width": 0.5, "dash": "dot"})
    name_x(
        figure,
        f"{text(group.short_label)}; marked: the next character begins a word",
        tickvals=places,
        ticktext=[text(shown(symbol)) for symbol in symbols],
        tickangle=0,
        tickfont={"family": "monospace", "size": 12},
        showgrid=False,
    )
    name_y(figure, "mean span, tokens", rangemode="tozero")
    return figure.update_layout(showlegend=False)


def before_words(symbols: list[str]) -> list[bool]:
    """Whether a word begins after each."""
    return [
        not symbol.isalpha() and after.isalpha()
        for symbol, after in zip(symbols, [*symbols[1:], ""], strict=True)
    ]


def shown(symbol: str) -> str:
    return _SHOWN_AS.get(symbol, symbol)
