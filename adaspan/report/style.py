"""How plots look, and how a group looks: the same in every plot and in the table.

The kind of span has a family of colours and a marker of its own, so that fixed and learned spans
can be distinguished without colours, too; the shades of a family go from the smallest values to the
largest, or, of many groups, from the worst to the best.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import label_rgb, sample_colorscale, unlabel_rgb

from adaspan.report.comparison import Comparison
from adaspan.report.groups import Group
from adaspan.report.labels import by_number
from adaspan.units import si

GREY = "rgb(127,127,127)"
COUNTS = "~s"  # 1.2M
# From so many times the smallest value on, a logarithmic axis has numbers at powers of ten only.
_MANY_TIMES = 30
_FEWEST_TICKS = 2
TITLE = {"standoff": 8, "font": {"size": 13}}  # of an axis
_AXIS = {
    "showline": True,
    "ticks": "outside",
    "ticklen": 4,
    "zeroline": False,
    "gridcolor": "#e4e4e8",
    "automargin": True,
}
# More groups than that and a legend says less than pointing at a line.
FEW = 12
# Light to dark, each readable on white and on near-black, the kinds apart for the colour-blind.
_FAMILIES = {
    "fixed": ("#eda63a", "#d55e00", "#bf2f48"),
    "adaptive": ("#4fb3e8", "#0072b2", "#6a5acd"),
    "dynamic": ("#4cc29b", "#009e73", "#4b7d2a"),
}
_OTHER = ("#b0b0b0", "#777777", "#555555")
_MARKERS = {"fixed": "square", "adaptive": "circle", "dynamic": "diamond"}
# Okabe and Ito, without the yellow: for few groups of one kind.
APART = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")


@dataclass(frozen=True)
class Look:
    """Of one group."""

    colour: str  # rgb(...)
    marker: str  # plotly's name


def looks(comparison: Comparison) -> list[Look]:
    """One for each group, in their order."""
    groups = comparison.groups
    order = _by_result(groups) if len(groups) > FEW else _by_values(groups)
    kinds: dict[str, list[int]] = {}
    for index in order:
        kinds.setdefault(groups[index].span_kind, []).append(index)
    by_index: dict[int, Look] = {}
    for kind, indices in kinds.items():
        few = len(kinds) == 1 and len(indices) <= len(APART)
        colours = APART if few else _shades(kind, len(indices))
        for index, colour in zip(indices, colours, strict=False):
            by_index[index] = Look(_rgb(colour), _MARKERS.get(kind, "circle"))
    return [by_index[index] for index in range(len(groups))]


def log_ticks(values: NDArray[np.float64]) -> dict[str, Any]:
    """Ticks of a logarithmic axis whose numbers stand apart."""
    if not values.size or values.max() > _MANY_TIMES * values.min():
        return {"dtick": 1, "minor": {"ticks": "outside"}}
    least, most = values.min(), values.max()
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    ticks = [tick for tick in ticks if least <= tick <= most]
    if len(ticks) < _FEWEST_TICKS:
        between = np.geomspace(least, most, _FEWEST_TICKS + 1).tolist()
        ticks = between if most > least else [least]
    return {"tickvals": ticks, "ticktext": [_without_zeros(si(tick)) for tick in ticks]}


def _without_zeros(count: str) -> str:
    """2.00G is 2G."""
    digits, point, rest = count.partition(".")
    decimals = rest[:-1].rstrip("0")
    return f"{digits}{'.' if decimals else ''}{decimals}{rest[-1:]}" if point else count


def look_of_kind(kind: str, index: int, count: int) -> Look:
    """Of one of `count` lines of groups of a kind."""
    return Look(_rgb(_shades(kind, count)[index]), _MARKERS.get(kind, "circle"))


def styled(figure: go.Figure) -> go.Figure:
    """What all plots share; on the page, text and lines take the page's colours."""
    return figure.update_layout(
        template="none",
        font={
            "family": "Helvetica, Arial, Liberation Sans, sans-serif",
            "size": 13,
            "color": "#1c2024",
        },
        margin={"l": 8, "r": 12, "t": 12, "b": 8},
        hovermode="closest",
        hoverlabel={"align": "left"},
        legend={"orientation": "h", "x": 0, "y": 1.03, "yanchor": "bottom"},
    )


def plain(comparison: Comparison, figure: go.Figure | None = None) -> go.Figure:
    """A figure to draw into; more than a few groups have no legend."""
    few = len(comparison.groups) <= FEW
    return styled(figure or go.Figure()).update_layout(showlegend=few)


def name_x(figure: go.Figure, title: str, **axis: object) -> None:
    """Title and look of the axis, or of all."""
    figure.update_xaxes(title=TITLE | {"text": title}, **_AXIS, **axis)


def name_y(figure: go.Figure, title: str, *, col: int | None = None, **axis: object) -> None:
    """Likewise, of one column of panels or of all."""
    figure.update_yaxes(title=TITLE | {"text": title}, **_AXIS, **axis, col=col)


def text(label: str) -> str:
    """Plotly reads some HTML in labels; a name stays text."""
    return html.escape(label, quote=False)


def transparent(colour: str, opacity: float) -> str:
    """The same colour, let through."""
    red, green, blue = unlabel_rgb(colour)
    return f"rgba({red:.0f},{green:.0f},{blue:.0f},{opacity})"


def _by_values(groups: Sequence[Group]) -> list[int]:
    """Indices of the groups, the smallest values first."""
    return sorted(
        range(len(groups)),
        key=lambda index: [by_number(value) for value in groups[index].varies.values()],
    )


def _by_result(groups: Sequence[Group]) -> list[int]:
    """Indices of the groups, those without a result first, then from the worst to the best."""
    return sorted(range(len(groups)), key=lambda index: -groups[index].rank)


def _shades(kind: str, count: int) -> list[str]:
    family = _FAMILIES.get(kind, _OTHER)
    places = [0.5] if count == 1 else np.linspace(0, 1, count).tolist()
    shades: list[str] = sample_colorscale([_rgb(colour) for colour in family], places)
    return shades


def _rgb(colour: str) -> str:
    if colour.startswith("rgb"):
        return colour
    return str(label_rgb(tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))))
