"""One's own runs beside the rows of the papers that they repeat.

What the papers print is in paper.yaml, beside this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from adaspan.config.schema import ModelConfig
from adaspan.report.comparison import Comparison
from adaspan.report.groups import Group
from adaspan.runs import figures
from adaspan.runs.figures import Figure
from adaspan.runs.measures import MEASURES, Measure

# So many groups are named that are no paper's.
_MOST_NAMED = 3
# Keys that runs of older versions do not have, and what they were trained with.
_BEFORE = {"model.persistent": ModelConfig.persistent}


@dataclass(frozen=True)
class PaperRow:
    """A row of a paper."""

    row: str  # what it is, and where it stands
    same: Mapping[str, object]  # configuration of the runs that are comparable with it
    settings: Mapping[str, object]  # how it was trained
    figures: Mapping[str, float]  # under the keys of a run's rows
    experiment: str = ""  # of `conf/experiment/`, which repeats it
    note: str = ""

    def has(self, values: Mapping[str, object]) -> bool:
        """Whether a run of this configuration is comparable."""
        return all(values.get(key, _BEFORE.get(key)) == value for key, value in self.same.items())

    def differences(self, values: Mapping[str, object]) -> list[str]:
        """In what a comparable run was trained otherwise."""
        return [
            f"{key}={values.get(key)} ({value})"
            for key, value in self.settings.items()
            if values.get(key) != value
        ]


@cache
def paper_rows() -> tuple[PaperRow, ...]:
    """All that are known."""
    text = Path(__file__).with_name("paper.yaml").read_text()
    return tuple(PaperRow(**row) for row in yaml.safe_load(text)["rows"])


@dataclass(frozen=True)
class AgainstPaper:
    """A comparison's groups, each with the papers' row that it repeats, if any."""

    pairs: Sequence[tuple[Group, PaperRow | None]]
    measure: Measure  # of the groups' scores

    @property
    def shown(self) -> list[Figure]:
        """Figures that the matched rows have, without scores of another measure."""
        others = {
            score.key(one) for one in MEASURES if one != self.measure for score in figures.SCORES
        }
        keys = {key for _, row in self.pairs if row for key in row.figures} - others
        return [figure for figure in figures.declared() if figure.key in keys]

    def table(self) -> list[list[str]]:
        """Two lines for each group that repeats a row: its own figures, and the paper's."""
        lines = []
        for group, row in self.pairs:
            if row:
                own = [(figure, group.mean(figure)) for figure in self.shown]
                papers = [(figure, row.figures.get(figure.key)) for figure in self.shown]
                lines.append([group.brief_label, *_cells(own, lambda figure: figure.written)])
                lines.append([f"paper: {row.row}", *_cells(papers, lambda _: _as_printed)])
        return lines

    @property
    def titles(self) -> list[str]:
        """Of the columns of `table`."""
        return ["run", *(figure.title for figure in self.shown)]

    def values(self) -> list[dict[str, str | float | None]]:
        """For programs: what the papers print, an entry a group, under `paper/` and the key."""
        keys = [figure.key for figure in self.shown]
        return [
            {
                "paper/row": row.row if row else None,
                **{f"paper/{key}": row.figures.get(key) if row else None for key in keys},
            }
            for _, row in self.pairs
        ]

    def remarks(self) -> Iterator[str]:
        """What must be known to read the table, a line each."""
        for group, row in self.pairs:
            if row is None:
                continue
            if not group.done:
                yield f"{group.brief_label}: not done yet."
            if differing := row.differences(group.first.values):
                values = ", ".join(differing)
                yield f"{group.brief_label}: trained otherwise than the paper's: {values}."
        yield from dict.fromkeys(row.note for _, row in self.pairs if row and row.note)
        if unmatched := [group.brief_label for group, row in self.pairs if row is None]:
            known = ", ".join(row.experiment for row in paper_rows() if row.experiment)
            more = len(unmatched) - _MOST_NAMED
            named = [*unmatched[:_MOST_NAMED], *[f"{more} more"] * (more > 0)]
            yield (
                f"Nothing in the papers has the data, model and span of: {'; '.join(named)}. "
                f"Runs of these experiments have: {known}."
            )


def against_paper(comparison: Comparison) -> AgainstPaper:
    """Find the papers' row of each group."""
    pairs = [(group, _row_of(group)) for group in comparison.groups]
    return AgainstPaper(pairs, comparison.measure)


def _row_of(group: Group) -> PaperRow | None:
    values = group.first.values
    return next((row for row in paper_rows() if values and row.has(values)), None)


def _cells(
    values: Sequence[tuple[Figure, float | None]],
    written: Callable[[Figure], Callable[[float], str]],
) -> list[str]:
    return ["" if value is None else written(figure)(value) for figure, value in values]


def _as_printed(value: float) -> str:
    """With the digits that the papers give."""
    if value >= 1e6:
        return f"{value / 1e6:.0f}M"
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"
