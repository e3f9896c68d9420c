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
# A run counts as cheaper from this ratio of multiply-adds on.
_WORTH_MENTIONING = 1.05


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
    _of_figure(figures.PAPER_MACS),
    _of_figure(figures.EXECUTED_FLOPS),
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


def finding(comparison: Comparison, margin: float) -> str:
    """The result in a few sentences.

    Args:
        comparison: the runs.
        margin: by how much the cheapest run may be worse than the best.
    """
    missing = len(unfinished(comparison))
    best, cheap = next(iter(comparison.done), None), comparison.cheapest_within(margin)
    if best is None or cheap is None:
        if len(comparison.runs) == 1:
            return "The run is not done yet."
        return f"None of the {len(comparison.runs)} runs is done yet."
    measure = comparison.measure
    sentences = [
        f"Best: {best.label}, {_valid(best, measure)} on valid, "
        f"{measure.written(best.test or 0.0)} on test, at "
        f"{si(best.macs_per_token or 0.0)} multiply-adds per token and a mean span of "
        f"{best.span_mean:.1f} tokens."
    ]
    ratio = (best.macs_per_token or 0.0) / (cheap.macs_per_token or 1.0)
    executed, of_cheap = (group.mean(figures.EXECUTED_FLOPS) for group in (best, cheap))
    really = f" ({executed / of_cheap:.2f} times as executed)" if executed and of_cheap else ""
    if ratio >= _WORTH_MENTIONING:
        sentences.append(
            f"Within {margin:g} {measure.name} of it the cheapest is {cheap.label}: "
            f"{_valid(cheap, measure)} on valid at {si(cheap.macs_per_token or 0.0)}, "
            f"{ratio:.2f} times cheaper{really}."
        )
    elif len(comparison.done) > 1:
        sentences.append(
            f"No run that is clearly cheaper comes within {margin:g} {measure.name} of it."
        )
    if len({_data(group) for group in comparison.done}) > 1:
        sentences.append(f"The runs are on different data, so their {measure.name} says little.")
    if missing:
        sentences.append(f"{missing} of {len(comparison.runs)} runs are not done.")
    if comparison.copies:
        names = ", ".join(run.name for run in comparison.copies)
        sentences.append(f"Left out as copies of other folders: {names}.")
    return " ".join(sentences)


def _valid(group: Group, measure: Measure) -> str:
    """Its score on valid with the spread, and the number of seeds."""
    spread = "" if group.spread is None else f" ± {measure.written(group.spread)}"
    done, seeds = len(group.done), len(group.runs)
    of = f" ({done} of {seeds} seeds)" if done < seeds else f" ({seeds} seeds)" if seeds > 1 else ""
    return f"{measure.written(group.valid or 0.0)}{spread}{of} {measure.name}"


def _data(group: Group) -> tuple[object, ...]:
    """What its runs read."""
    values = group.first.values
    return values["data"], values.get("data.path"), group.first.data


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
