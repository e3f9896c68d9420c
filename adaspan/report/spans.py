"""Every head's span, as a map of layers and heads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from adaspan.report.comparison import Comparison
from adaspan.report.style import TITLE, styled, text

SCALE = "Viridis"
_MOST_MAPS, _COLUMNS = 12, 4
# So many cells at most have their number written into them.
_MOST_NUMBERS = 128


def spans(comparison: Comparison) -> go.Figure:
    """The spans at the end, a map a group: the best of those that learned them, one seed each."""
    shown = [
        (group, group.done[0].spans()[1][-1]) for group in comparison.done if group.learns_spans
    ][:_MOST_MAPS]
    if not shown:
        return go.Figure()
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=[text(group.short_label) for group, _ in shown],
        horizontal_spacing=0.3 / columns / 2,
        vertical_spacing=0.3 / rows,
    )
    for index, (_, spans_LH) in enumerate(shown):
        row, column = divmod(index, columns)
        figure.add_trace(heatmap(spans_LH), row=row + 1, col=column + 1)
        if index + columns >= len(shown):
            figure.update_xaxes(title=TITLE | {"text": "head"}, row=row + 1, col=column + 1)
        if column == 0:
            figure.update_yaxes(title=TITLE | {"text": "layer"}, row=row + 1, col=1)
    figure.update_xaxes(dtick=max(1, shown[0][1].shape[1] // 8), showgrid=False, zeroline=False)
    figure.update_yaxes(dtick=max(1, shown[0][1].shape[0] // 6), showgrid=False, zeroline=False)
    figure.update_annotations(font_size=13)
    styled(figure).update_layout(coloraxis=colours(max(float(s.max()) for _, s in shown)))
    return figure.update_layout(
        margin={"l": 50, "r": 20, "t": 34, "b": 54},
        width=110 + 250 * columns,
        height=90 + 220 * rows,
    )


def heatmap(spans_LH: NDArray[np.float64]) -> go.Heatmap:
    """One map; colours are those of `colours`, numbers are tokens."""
    return go.Heatmap(
        z=np.log10(1 + spans_LH),
        customdata=spans_LH,
        text=[[f"{span:.0f}" if span >= 10 else f"{span:.1f}" for span in row] for row in spans_LH],
        coloraxis="coloraxis",
        texttemplate="%{text}" if spans_LH.size <= _MOST_NUMBERS else None,
        hovertemplate="layer %{y}, head %{x}: %{customdata:.1f} tokens<extra></extra>",
        xgap=1,
        ygap=1,
    )


def colours(longest: float) -> dict[str, Any]:
    """A scale for log(1 + span), so that short spans differ visibly beside long ones."""
    return {
        "colorscale": SCALE,
        "cmin": 0,
        "cmax": math.log10(1 + max(longest, 1.0)),
        "colorbar": {
            "title": {"text": "tokens", "font": {"size": 13}},
            "thickness": 14,
            **span_ticks(longest),
        },
    }


def span_ticks(longest: float) -> dict[str, Any]:
    """Ticks of a scale for log(1 + span)."""
    decades = range(math.ceil(math.log10(1 + longest)) + 1)
    marks = [0, *(factor * 10**decade for decade in decades for factor in (1, 3))]
    ticks = [mark for mark in marks if mark <= longest]
    return {
        "tickvals": [math.log10(1 + tick) for tick in ticks],
        "ticktext": [f"{tick:,}" for tick in ticks],
    }
