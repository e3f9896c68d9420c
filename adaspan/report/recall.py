"""How far heads learned to look on recall streams, and how far they must."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from adaspan.report.comparison import Comparison
from adaspan.report.groups import Group
from adaspan.report.labels import in_short
from adaspan.report.style import APART, GREY, name_x, name_y, plain, text
from adaspan.runs import figures
from adaspan.runs.figures import Figure

DISTANCES = "data.distances"
_MARKERS = ("circle", "square-open", "diamond-open", "triangle-up", "x", "star", "cross")


def recall(comparison: Comparison) -> go.Figure:
    """Score and longest reach against the farthest k of the stream, a line for all else that
    varies; grey: what must be, and what is chance. Nothing if no k was varied.
    """
    figure = plain(comparison, make_subplots(1, 2, horizontal_spacing=0.09))
    done = [group for group in comparison.groups if group.done and farthest(group)]
    distances = sorted({farthest(group) for group in done})
    if len(distances) < 2:
        return figure
    lines: dict[str, list[Group]] = {}
    for group in sorted(done, key=farthest):
        rest = {key: value for key, value in group.varies.items() if key != DISTANCES}
        lines.setdefault(in_short(rest), []).append(group)
    panels = figures.VALID.of(comparison.measure), figures.SPAN_REACH
    for index, (name, groups) in enumerate(lines.items()):
        for column, shown in enumerate(panels, 1):
            figure.add_scatter(
                row=1,
                col=column,
                x=[farthest(group) for group in groups],
                y=[group.mean(shown) for group in groups],
                error_y={
                    "array": [group.deviation(shown) or 0.0 for group in groups],
                    "thickness": 1.2,
                    "width": 4,
                },
                name=text(name),
                legendgroup=name,
                showlegend=column == 1 and bool(name),
                mode="lines+markers",
                line={"color": APART[index % len(APART)], "width": 1.5},
                marker={"symbol": _MARKERS[index % len(_MARKERS)], "size": 10},
                hovertemplate="<b>%{fullData.name}</b>, k = %{x}<br>%{y:.4g}<extra></extra>",
            )
    entropy = figures.ENTROPY.of(comparison.measure)
    _guide(figure, 1, "entropy", distances, _entropies(done, distances, entropy))
    symbols = {group.first.values["data.alphabet"] for group in done}
    if len(symbols) == 1:
        chance = comparison.measure.of_nats(math.log(float(str(symbols.pop()))))
        _guide(figure, 1, "chance", distances, [chance] * len(distances))
    _guide(figure, 2, "k − 1, the token that is needed", distances, [k - 1 for k in distances])
    name_x(figure, "k: the next symbol is the one k back", tickvals=distances)
    name_y(figure, panels[0].axis, col=1)
    name_y(figure, "farthest that a head sees, tokens", col=2, rangemode="tozero")
    return figure.update_layout(showlegend=True)


def farthest(group: Group) -> int:
    """The farthest k of its stream; 0 if it reads another text."""
    distances = group.first.values.get(DISTANCES)
    return max(distances) if isinstance(distances, list) else 0


def _entropies(
    groups: Sequence[Group], distances: Sequence[int], entropy: Figure
) -> list[float | None]:
    """Of the streams of each k: of the first group that has it."""
    known = {farthest(group): group.mean(entropy) for group in reversed(groups)}
    return [known[distance] for distance in distances]


def _guide(
    figure: go.Figure, column: int, name: str, x: Sequence[int], y: Sequence[float | None]
) -> None:
    figure.add_scatter(
        row=1,
        col=column,
        x=x,
        y=y,
        mode="lines",
        name=name,
        line={"color": GREY, "dash": {"chance": "dash"}.get(name, "dot"), "width": 2},
        hoverinfo="skip",
    )
