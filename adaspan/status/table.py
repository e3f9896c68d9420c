"""Tables on a terminal: that of runs, and how any table is printed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from adaspan.status.state import RunState
from adaspan.units import duration, si

# Columns of a table that goes to a file, where nothing need be cut or folded.
_FILE_WIDTH = 200


def show(table: Table) -> None:
    """Print a table, whole."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(table)


def table(title: str, states: Sequence[RunState]) -> Table:
    """A run a line; columns that say nothing yet are left out. `mean` and `max` are spans."""
    lines = [{**(state.varies or {"run": state.run}), **_cells(state)} for state in states]
    columns = [
        key
        for key in dict.fromkeys(key for line in lines for key in line)
        if any(line.get(key) for line in lines)
    ]
    found = Table(title=title, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        found.add_column(column, overflow="fold")
    for line in lines:
        found.add_row(*(line.get(column, "") for column in columns))
    return found


def _cells(state: RunState) -> dict[str, str]:
    return {
        "state": state.state,
        "SLURM": state.slurm.partition(" (")[0],
        "step": f"{state.step}/{state.steps}" if state.steps and state.state != "done" else "",
        "valid": _decimals(state.bpc, 3),
        "test": _decimals(state.test_bpc, 3),
        "mean": _decimals(state.span_mean, 1),
        "max": _decimals(state.span_max, 1),
        "MACs": "" if state.macs_per_token is None else si(state.macs_per_token),
        "left": "" if state.seconds_left is None else duration(state.seconds_left),
        "error": state.error,
    }


def _decimals(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
