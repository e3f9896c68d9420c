"""A comparison in a terminal: the table, what is not done, and two small plots.

A letter before each row of the table is its mark in the plots, so that no colour is needed.
"""

from __future__ import annotations

import io
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import plotext
from numpy.typing import NDArray
from plotly.colors import unlabel_rgb
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from adaspan.console import Console
from adaspan.report.comparison import Comparison
from adaspan.report.curves import SHOWN_FROM
from adaspan.report.finding import finding, notes
from adaspan.report.groups import Group
from adaspan.report.paper import AgainstPaper
from adaspan.report.style import Look, looks
from adaspan.report.table import Column, standing_of, table_of, text_of, unfinished
from adaspan.runs import figures
from adaspan.units import si

_LETTERS = string.ascii_lowercase + string.ascii_uppercase
_NO_LETTER = "·"
_NOT_DONE = "×"  # a seed beside the mean of the others
_PLAIN_BELOW = 1e4  # scores from there on are written in short
_PLOT_HEIGHT, _TICKS = 18, 5
_MOST_POINTS = 40
# Left out of a table that is too wide, the first first; beginnings of keys.
_LEFT_OUT = (
    figures.TOKENS_PER_SECOND.key,
    figures.PAPER_MACS.key,
    "seconds",
    figures.QUICK.prefix,
    figures.SPAN_MAX.key,
    "seeds_done",
    figures.TEST.prefix,
)


@dataclass(frozen=True)
class _Points:
    """Of one group, in a plot."""

    mark: str
    colour: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


def to_text(
    comparison: Comparison,
    margin: float,
    width: int,
    *,
    coloured: bool,
    against: AgainstPaper | None = None,
) -> str:
    """All that a terminal of `width` columns shows.

    Args:
        comparison: what it shows.
        margin: by how much the cheapest run in the finding may be worse than the best.
        width: in characters.
        coloured: with codes for colours.
        against: the papers' rows to show beside the groups.
    """
    written = io.StringIO()
    console = Console(
        file=written,
        width=width,
        force_terminal=coloured,
        color_system="256" if coloured else None,
        highlight=False,
    )
    measure = comparison.measure
    marked = [
        (group, look, (_LETTERS + _NO_LETTER * len(comparison.groups))[index])
        for index, (group, look) in enumerate(
            zip(comparison.groups, looks(comparison), strict=True)
        )
    ]
    best_first = sorted(marked, key=lambda item: item[0].rank)
    console.print(Text(comparison.title, style="bold"))
    console.print(Text(finding(comparison, margin)))
    for note in notes(comparison):
        console.print(Text(note))
    console.print()
    left_out = _print_table(console, comparison, marked)
    if left_out:
        titles = ", ".join(column.title for column in left_out)
        console.print(Text(f"no room for: {titles}; --format csv has all columns"))
    for group, run in unfinished(comparison):
        seed = f", seed {run.seed}" if len(group.runs) > 1 else ""
        console.print(Text(f"not done: {group.short_label}{seed}: {standing_of(run)}"))
    if against:
        _print_papers(console, against)
    quick, valid = figures.QUICK.of(measure), figures.VALID.of(measure)
    for title, points, label_of_x in (
        (
            f"{quick.axis}, against {figures.TOKENS.axis}",
            _curves(best_first),
            si,
        ),
        (
            f"{valid.axis} against {figures.EXECUTED_FLOPS.axis}",
            _costs(best_first),
            lambda place: si(10**place),
        ),
    ):
        if points:
            console.print()
            console.print(Text.from_ansi(_plot(title, points, label_of_x, width, coloured)))
    if len(comparison.done) > 1:
        console.print(Text("where points meet, the letter of the better run is shown"))
    if any(group.done and group.not_done for group in comparison.groups):
        console.print(Text(f"{_NOT_DONE} a seed that is not done"))
    return "".join(f"{line.rstrip()}\n" for line in written.getvalue().rstrip().split("\n"))


def _print_table(
    console: Console, comparison: Comparison, marked: Sequence[tuple[Group, Look, str]]
) -> list[Column]:
    """Print as much of the table as has room; what has not."""
    table = table_of(comparison)
    shown, left_out = list(table.columns), []
    for key in (None, *_LEFT_OUT):
        left_out += [column for column in shown if key and column.key.startswith(key)]
        shown = [column for column in shown if column not in left_out]
        drawn = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        drawn.add_column("")
        for column in shown:
            drawn.add_column(
                Text(column.title),
                justify="right" if column.is_number else "left",
                overflow="fold",
            )
        for (_, look, mark), values in zip(marked, table.rows, strict=True):
            cells = [Text(text_of(column, values)) for column in shown]
            drawn.add_row(Text(mark, style=look.colour.replace(" ", "")), *cells)
        unlimited = console.options.update(max_width=10_000)
        if Measurement.get(console, unlimited, drawn).maximum <= console.width:
            break
    console.print(drawn)
    return left_out


def _print_papers(console: Console, against: AgainstPaper) -> None:
    console.print()
    if lines := against.table():
        drawn = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for index, title in enumerate(against.titles):
            drawn.add_column(title, justify="right" if index else "left", overflow="fold")
        for line in lines:
            drawn.add_row(*map(Text, line))
        console.print(drawn)
    for remark in against.remarks():
        console.print(Text(remark))


def _curves(marked: Sequence[tuple[Group, Look, str]]) -> list[_Points]:
    """How training went: the mean of each group, and its runs that are not done."""
    drawn = []
    for group, look, mark in marked:
        not_done = [(_NOT_DONE if group.done else mark, run.curve()) for run in group.not_done]
        for own_mark, curve in [(mark, group.curve()), *not_done]:
            if curve is not None:
                thin = curve.thinned(_MOST_POINTS)
                late = thin.steps >= SHOWN_FROM * group.first.state.steps
                drawn.append(_Points(own_mark, look.colour, thin.tokens[late], thin.valid[late]))
    return [points for points in drawn if points.x.size]


def _costs(marked: Sequence[tuple[Group, Look, str]]) -> list[_Points]:
    return [
        _Points(
            mark,
            look.colour,
            np.log10([group.cost]),
            np.array([group.valid]),
        )
        for group, look, mark in marked
        if group.cost
    ]


def _plot(
    title: str,
    points: Sequence[_Points],
    label_of_x: Callable[[float], str],
    width: int,
    coloured: bool,
) -> str:
    """A plot, a letter a point; where points meet, the letter of the first of them."""
    plotext.terminal.limit(False, False)
    figure = plotext.figure.clear().plot_size(width, _PLOT_HEIGHT).theme("colorless").title(title)
    for one in reversed(points):  # the last is drawn on top
        pixel = plotext.pixel(tuple(round(part) for part in unlabel_rgb(one.colour)))
        marker = plotext.marker(one.mark, pixel)
        figure.draw(figure.signal(one.x.tolist(), one.y.tolist(), marker=marker))
    for axis, values, label in (
        ("x", np.concatenate([one.x for one in points]), label_of_x),
        ("y", np.concatenate([one.y for one in points]), _score),
    ):
        places = np.unique(np.linspace(values.min(), values.max(), _TICKS)).tolist()
        figure.ruler(axis).ticks(places, labels=[label(place) for place in places])
    return str(figure.build().string(colorless=not coloured))


def _score(value: float) -> str:
    """A place on the axis of scores."""
    return f"{value:.3f}" if value < _PLAIN_BELOW else si(value)
