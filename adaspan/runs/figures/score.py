"""Scores: figures of which a run has one in the measure of its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adaspan.runs.figures.figure import Figure, Moment, register
from adaspan.runs.measures import MEASURES, Measure


@dataclass(frozen=True)
class Score:
    """A loss in the measure of the run's data: a figure for each, of which a run has one.

    Args:
        prefix: of the keys, which end in the measure's name: `final/valid_`.
    """

    prefix: str
    by_measure: Mapping[str, Figure]

    @property
    def name(self) -> str:
        """What stands for it whatever the data: `final/valid`."""
        return self.prefix.rstrip("_/")

    def of(self, measure: Measure) -> Figure:
        """The figure of a run whose data have this measure."""
        return self.by_measure[measure.name]

    def key(self, measure: Measure) -> str:
        """Of that figure, in a row."""
        return self.of(measure).key

    def within(self, row: Mapping[str, Any]) -> Figure | None:
        """The figure of it that a row has."""
        return next((f for f in self.by_measure.values() if f.key in row), None)

    def value(self, row: Mapping[str, Any]) -> float | None:
        """What a row has of it, in whichever measure."""
        figure = self.within(row)
        return None if figure is None else row[figure.key]

    def told(self, row: Mapping[str, Any]) -> str:
        """The same with its measure: `1.024 bpc`; empty if the row has none."""
        measure = next((m for m in MEASURES if self.key(m) in row), None)
        return (
            "" if measure is None else f"{measure.written(row[self.key(measure)])} {measure.name}"
        )


def declare_score(
    prefix: str, title: str, meaning: str, rows: tuple[Moment, ...], label: str = ""
) -> Score:
    """Declare its figure for each measure; the rest as in `Figure`."""
    by_measure = {
        measure.name: register(
            Figure(
                f"{prefix}{measure.name}",
                f"{title} {measure.name}",
                meaning,
                measure.meaning,
                "lower",
                measure.written,
                rows,
                label and f"{measure.name} {label}",
            )
        )
        for measure in MEASURES
    }
    return Score(prefix, by_measure)
