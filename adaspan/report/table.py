"""The table of a comparison: a row for each group, the same in every format.

Figures stand under the keys of `runs/figures/`, those of an extension after ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from adaspan.report.comparison import Comparison
from adaspan.report.groups import Group, Run
from adaspan.report.labels import readable, short_keys
from adaspan.runs import figures
from adaspan.runs.failures import State
from adaspan.runs.figures import Figure
from adaspan.runs.figures.own import is_built_in
from adaspan.runs.measures import Measure
from adaspan.units import duration, si

Value = str | float | None


@dataclass(frozen=True)
class Column:
    """One property of groups."""

    title: str
    key: str  # in CSV and JSON
    meaning: str = ""
    is_number: bool = True
    written: Callable[[float], str] = si


def _of_figure(figure: Figure, note: str = "") -> Column:
    """The mean of a figure over seeds."""
    return Column(figure.title, figure.key, figure.meaning + note, written=figure.written)


def _columns(measure: Measure) -> list[Column]:
    return [
        _of_figure(
            figures.VALID.of(measure),
            f": {measure.meaning}, ± the standard deviation over the seeds done",
        ),
        _of_figure(figures.TEST.of(measure), ", likewise"),
        _of_figure(
            figures.QUICK.of(measure),
            ", the last, where no seed is done, of the one that got furthest; not comparable",
        ),
        *_COLUMNS,
    ]


_COLUMNS = (
    _of_figure(figures.SPAN_MEAN),
    _of_figure(figures.SPAN_MAX),
    _of_figure(figures.EXECUTED_FLOPS),
    _of_figure(figures.PAPER_MACS),
    _of_figure(figures.TOKENS_PER_SECOND),
    Column("time", "seconds", "spent on updates", written=duration),
    Column("seeds", "seeds_done", "that are done, of all"),
    Column("state", "state", is_number=False),
)
# Figures whose last values represent a run.
_MEANS = (
    figures.SPAN_MEAN,
    figures.SPAN_MAX,
    figures.PAPER_MACS,
    figures.EXECUTED_FLOPS,
    figures.TRAINING_FLOPS,
    figures.PARAMETERS,
    figures.ATTENTION_FLOPS,
    figures.FEED_FORWARD_FLOPS,
    figures.PAPER_ATTENTION_MACS,
    figures.PAPER_FEED_FORWARD_MACS,
)


def _deviation_key(key: str) -> str:
    return f"{key}_std"


def _spread(measure: Measure) -> tuple[Figure, Figure]:
    """Shown with their standard deviations over seeds."""
    return figures.VALID.of(measure), figures.TEST.of(measure)


# What a person reads in another column, or in a line of its own, beside the deviations.
_ONLY_EXACT = (
    figures.TRAINING_FLOPS.key,
    figures.PARAMETERS.key,
    figures.ATTENTION_FLOPS.key,
    figures.FEED_FORWARD_FLOPS.key,
    figures.PAPER_ATTENTION_MACS.key,
    figures.PAPER_FEED_FORWARD_MACS.key,
    "seeds",
    "error",
)


@dataclass(frozen=True)
class Table:
    """Exact values by column, a row for each group."""

    columns: Sequence[Column]  # for a person: without empty columns
    keys: Sequence[str]  # for a program: what varies, then always the same
    rows: Sequence[Mapping[str, Value]]

    def texts(self) -> list[list[str]]:
        """As a person reads it."""
        return [[text_of(column, row) for column in self.columns] for row in self.rows]


def table_of(comparison: Comparison) -> Table:
    """The table, what varies first."""
    own = [figures.figure_of(key) for key in _own_figures(comparison)]
    measure = comparison.measure
    rows = [_values(group, own, measure) for group in comparison.groups]
    titles = short_keys(comparison.varied)
    varied = [
        Column(titles[key], key, key, _are_numbers(row.get(key) for row in rows))
        for key in comparison.varied
    ] or [Column("run", "run", is_number=False)]
    columns = [*_columns(measure), *map(_of_figure, own)]
    shown = [column for column in columns if any(row[column.key] is not None for row in rows)]
    if all(row["seeds"] == 1 for row in rows):
        shown = [column for column in shown if column.key != "seeds_done"]
    keys = [column.key for column in (*varied, *columns)]
    keys += [_deviation_key(figure.key) for figure in _spread(measure)]
    return Table([*varied, *shown], [*keys, *_ONLY_EXACT], rows)


def _own_figures(comparison: Comparison) -> list[str]:
    """Keys of the figures that the runs have beside ours."""
    keys = dict.fromkeys(key for run in comparison.runs for key in run.last)
    return [key for key in keys if not is_built_in(key)]


def text_of(column: Column, values: Mapping[str, Value]) -> str:
    """A value as a person reads it."""
    value = values.get(column.key)
    if value is None:
        return ""
    if isinstance(value, str):
        return readable(value) if column.is_number else value
    text = column.written(value)
    if column.key.startswith(figures.QUICK.prefix):
        return f"({text})"
    if column.key == "seeds_done" and value != values["seeds"]:
        return f"{text} of {values['seeds']}"
    deviation = values.get(_deviation_key(column.key))
    return text if deviation is None else f"{text} ± {column.written(float(deviation))}"


def state_of(group: Group) -> str:
    """The state of all runs if it is one, else how many runs have which."""
    counts = Counter(run.state.state for run in group.runs)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def unfinished(comparison: Comparison) -> list[tuple[Group, Run]]:
    """Runs without a result."""
    return [(group, run) for group in comparison.groups for run in group.not_done]


def standing_of(run: Run) -> str:
    """How far a run got that is not done, and why it stopped."""
    state = run.state
    if state.state == State.DONE:
        return "done, but its final figures are missing from metrics.jsonl"
    queue = f" ({state.slurm})" if state.slurm else ""
    step = f" at step {state.step} of {state.steps}" if state.steps else ""
    quick = f", quick {figures.QUICK.told(run.evaluations[-1])}" if run.evaluations else ""
    error = f": {state.error}" if state.error else ""
    return f"{state.state}{queue}{step}{quick}{error}"


def _values(group: Group, own: Sequence[Figure], measure: Measure) -> dict[str, Value]:
    """By column key; None where there is none.

    Args:
        group: the row.
        own: figures that are not ours.
        measure: of the scores.
    """
    errors = dict.fromkeys(run.state.error for run in group.runs if run.state.error)
    furthest = max(group.runs, key=lambda run: run.state.step)
    return {
        "run": group.runs[0].name,
        **group.varies,
        **{figure.key: group.mean(figure) for figure in (*_spread(measure), *_MEANS, *own)},
        **{_deviation_key(figure.key): group.deviation(figure) for figure in _spread(measure)},
        figures.QUICK.key(measure): None if group.done else furthest.quick,
        figures.TOKENS_PER_SECOND.key: group.tokens_per_second,
        "seconds": group.seconds,
        "seeds_done": len(group.done),
        "seeds": len(group.runs),
        "state": state_of(group),
        "error": "; ".join(errors) or None,
    }


def _are_numbers(values: Iterable[Value]) -> bool:
    """Whether all that is there reads as a number."""
    try:
        return bool([float(value) for value in values if value is not None])
    except ValueError:
        return False
