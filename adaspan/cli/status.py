"""Show the states of runs."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.live import Live

from adaspan.cli.choose import chosen_runs, runs_option
from adaspan.errors import UserError
from adaspan.runs.code.fingerprint import in_words
from adaspan.runs.failures import UNDER_WAY, State
from adaspan.runs.folder import RunFolder
from adaspan.runs.other_code import files_other_here
from adaspan.status.state import RunState, read_states
from adaspan.status.table import show
from adaspan.status.table import table as table_of

_WATCH_SECONDS = 5.0


@click.command()
@click.argument("sweep", required=False)
@runs_option
@click.option("--watch", is_flag=True, help="Repeat until all runs have ended.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs: one object per run."
)
def status(sweep: str | None, output_dir: Path, watch: bool, as_json: bool) -> None:
    """Show the states of the runs of SWEEP, or of all.

    Exit code: 0 all are done; 3 some are under way; 1 none is under way, and some are not done.
    """
    if watch and as_json:
        raise UserError("--watch and --json cannot be combined")
    title, runs = chosen_runs(output_dir, sweep)
    states = read_states(runs)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(state) for state in states], indent=2))
    elif watch:
        with Live(table_of(title, states), auto_refresh=False) as live:
            while {state.state for state in states} & UNDER_WAY:
                time.sleep(_WATCH_SECONDS)
                states = read_states(runs)
                live.update(table_of(title, states), refresh=True)
    else:
        show(table_of(title, states))
        _show_other_code(list(runs))
        _show_logs(states)
        _show_counts(states)
    raise SystemExit(_exit_code(states))


def _exit_code(states: Sequence[RunState]) -> int:
    states_found = {state.state for state in states}
    if states_found & UNDER_WAY:
        return 3
    return 0 if states_found == {State.DONE} else 1


def _show_other_code(runs: Sequence[Path]) -> None:
    """How many runs are not of the code here."""
    found = [files for run in runs if (files := files_other_here(RunFolder(run)))]
    if found:
        files = sorted({file for of_run in found for file in of_run})
        click.echo(f"{len(found)} of {len(runs)} trained by other code: {in_words(files)}")


def _show_logs(states: Sequence[RunState]) -> None:
    """Where there is more to read of what ended badly."""
    for state in states:
        if state.error and Path(state.log).exists():
            click.echo(f"{state.state} {state.run}: {state.log}")


def _show_counts(states: Sequence[RunState]) -> None:
    counts: dict[str, int] = {}
    for state in states:
        counts[state.state] = counts.get(state.state, 0) + 1
    parts = [f"{count} {state}" for state, count in counts.items()]
    if reasons := sorted({state.slurm for state in states if "(" in state.slurm}):
        parts.append(", ".join(reasons))  # why they wait
    click.echo(" · ".join(parts))
