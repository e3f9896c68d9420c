"""Tables on a terminal: that of runs, and how any table is printed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from adaspan.console import Console
from adaspan.runs import figures
from adaspan.runs.failures import State
from adaspan.runs.measures import MEASURES, Measure
from adaspan.status.state import RunState
from adaspan.units import duration

# Columns of a table that goes to a file, where nothing need be cut or folded.
_FILE_WIDTH = 200
# Of a digest, as git shows commits.
_SHORT_CODE = 7


def show(table: Table) -> None:
    """Print a table, whole."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(table)


def table(title: str, states: Sequence[RunState]) -> Table:
    """A run a line; columns that say nothing yet are left out, and the code if all have one."""
    used = {state.measure for state in states}
    measures = [measure for measure in MEASURES if measure.name in used]
    one_code = len({state.code for state in states if state.code}) < 2
    lines = [
        {**(state.varies or {"run": state.run}), **_cells(state, measures)} for state in states
    ]
    columns = [
        key
        for key in dict.fromkeys(key for line in lines for key in line)
        if any(line.get(key) for line in lines) and not (key == "code" and one_code)
    ]
    shown = Table(title=title, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        shown.add_column(column.replace(" ", "\n"), overflow="fold")  # narrow
    for line in lines:
        shown.add_row(*(line.get(column, "") for column in columns))
    return shown


def _cells(state: RunState, measures: Sequence[Measure]) -> dict[str, str]:
    scores = [
        (score.of(measure), value if state.measure == measure.name else None)
        for measure in measures
        for score, value in ((figures.VALID, state.valid), (figures.TEST, state.test))
    ]
    numbers = (
        *scores,
        (figures.SPAN_MEAN, state.span_mean),
        (figures.SPAN_MAX, state.span_max),
        (figures.PAPER_MACS, state.macs_per_token),
    )
    return {
        "state": state.state,
        "SLURM": state.slurm.partition(" (")[0],
        "step": f"{state.step}/{state.steps}" if state.steps and state.state != State.DONE else "",
        **{
            figure.title: "" if value is None else figure.written(value)
            for figure, value in numbers
        },
        **{key: f"{value:.4g}" for key, value in state.own.items()},
        "left": "" if state.seconds_left is None else duration(state.seconds_left),
        "continues": state.continues,
        "code": "+".join(code[:_SHORT_CODE] for code in state.code.split("+")),
        "error": state.error,
    }
