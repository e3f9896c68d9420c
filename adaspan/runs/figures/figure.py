"""What a figure is, and the list of all that are declared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from adaspan.units import si

Row = dict[str, Any]  # flat; "step" first
# When a row is written: every `train.log_every` steps, with a quick evaluation every
# `train.eval_every`, and once with the final evaluation.
Moment = Literal["log", "evaluation", "end"]


def summary_name(key: str) -> str:
    """The key as W&B's summary has it, which sorts and filters by names without a slash only."""
    return key.replace("/", "_")


@dataclass(frozen=True)
class Figure:
    """One number of a row.

    Args:
        key: in a row, in tables for programs, and (see `summary_name`) on W&B.
        title: of a table's column.
        meaning: one line.
        unit: empty for plain numbers.
        better: the direction in which it improves.
        written: the number as a person reads it.
        rows: those that hold it.
        label: where there is room for more than the title, such as along an axis; empty: the title
            and the unit.
    """

    key: str
    title: str
    meaning: str
    unit: str = ""
    better: Literal["lower", "higher", "neither"] = "neither"
    written: Callable[[float], str] = si
    rows: tuple[Moment, ...] = ("log", "evaluation")
    label: str = ""

    @property
    def summary_name(self) -> str:
        """As W&B's summary has it."""
        return summary_name(self.key)

    @property
    def status_name(self) -> str:
        """As `status.json` has it, if it does."""
        return self.key.rpartition("/")[2]

    @property
    def axis(self) -> str:
        """What stands along an axis, or over a plot."""
        return self.label or ", ".join(filter(None, (self.title, self.unit)))

    def rank(self, value: float | None) -> float:
        """Less for a better value, so that sorting puts the best first and those without last.

        Raises:
            ValueError: neither lower nor higher is better.
        """
        if self.better == "neither":
            raise ValueError(f"{self.key}: has no better and worse")
        if value is None:
            return math.inf
        return value if self.better == "lower" else -value


_figures: dict[str, Figure] = {}


def register(figure: Figure) -> Figure:
    """Declare a figure.

    Raises:
        ValueError: its key is another figure's, or W&B could not tell the two apart.
    """
    for other in _figures.values():
        if other != figure and other.summary_name == figure.summary_name:
            raise ValueError(f"figure {figure.key}: {other.key} is declared already; rename one")
    _figures[figure.key] = figure
    return figure


def declared() -> list[Figure]:
    """Every figure, in the order of declaration."""
    return list(_figures.values())


def figure_of(key: str) -> Figure:
    """The figure of a key; of one that nobody has declared, a figure whose title is its key."""
    return _figures.get(key) or Figure(key, title=key, meaning=key, written="{:.4g}".format)
