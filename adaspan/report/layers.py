"""The spans of each layer, a point a head: Figure 4 of the paper."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from adaspan.report.comparison import Comparison
from adaspan.report.spans import span_ticks
from adaspan.report.style import looks, name_x, name_y, styled, text, transparent

_MOST_GROUPS = 4


def layers(comparison: Comparison) -> go.Figure:
    """Heads' spans by layer at the end, of all seeds: the best groups that learned them.

    Lines are means of a layer.
    """
    figure = styled(go.Figure())
    look_of = dict(zip(map(id, comparison.groups), looks(comparison), strict=True))
    learned = [group for group in comparison.done if group.learns_spans][:_MOST_GROUPS]
    longest = 1.0
    for index, group in enumerate(learned):
        look = look_of[id(group)]
        spans_LH = np.concatenate([run.spans()[1][-1] for run in group.done], axis=1)
        longest = max(longest, spans_LH.max())
        layer_count, heads = spans_LH.shape
        # Groups stand side by side, the heads of a layer a little apart.
        within = np.linspace(-0.5, 0.5, heads) * 0.6 / len(learned)
        aside = (index - (len(learned) - 1) / 2) * 0.8 / len(learned)
        layer_L1 = np.arange(layer_count)[:, None]
        figure.add_scatter(
            x=(layer_L1 + aside + within).ravel(),
            y=np.log10(1 + spans_LH).ravel(),
            customdata=np.stack(
                [np.broadcast_to(layer_L1, spans_LH.shape).ravel(), spans_LH.ravel()], axis=1
            ),
            name=text(group.short_label),
            legendgroup=group.label,
            mode="markers",
            marker={"symbol": look.marker, "size": 8, "color": transparent(look.colour, 0.7)},
            hovertemplate="<b>%{fullData.name}</b><br>layer %{customdata[0]:.0f}: "
            "%{customdata[1]:.1f} tokens<extra></extra>",
        )
        figure.add_scatter(
            x=layer_L1[:, 0] + aside,
            y=np.log10(1 + spans_LH.mean(1)),
            legendgroup=group.label,
            showlegend=False,
            mode="lines",
            line={"color": look.colour, "width": 1.5},
            hoverinfo="skip",
        )
    if not learned:
        return go.Figure()
    name_x(figure, "layer", dtick=1)
    name_y(figure, "span of a head, tokens", **span_ticks(longest))
    return figure.update_layout(showlegend=len(learned) > 1)
