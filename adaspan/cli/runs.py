"""Watch runs, stop them, send them again."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.live import Live

from adaspan.cli.choose import chosen_runs, runs_option
from adaspan.config.compose import register
from adaspan.errors import UserError
from adaspan.run_folder import RunFolder
from adaspan.slurm import cluster
from adaspan.slurm.lookup import live_jobs, settled_jobs
from adaspan.slurm.submit import resubmit as submit_again
from adaspan.slurm.submit import submitting, was_submitted
from adaspan.sweep import explain as explanation
from adaspan.sweep.find import find_run, find_runs, sweeps_of
from adaspan.sweep.state import RunState, logs_of, read_states
from adaspan.sweep.state import table as table_of
from adaspan.terminal import show

_CONF = Path(__file__).parents[2] / "conf"
_WATCH_SECONDS = 5.0
_GOES_ON = {"queued", "running"}


@click.command()
@click.argument("sweep", required=False)
@runs_option
@click.option("--watch", is_flag=True, help="Again and again, until all has ended.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one object a run.")
def status(sweep: str | None, output_dir: Path, watch: bool, as_json: bool) -> None:
    """Show a table of the runs of SWEEP, or of all runs.

    Exit code: 0 all are done, 3 some are under way, 1 none is and some are not done.
    """
    if watch and as_json:
        raise UserError("--watch --json: leave one of them out")
    title, runs = chosen_runs(output_dir, sweep)
    states = read_states(runs)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(state) for state in states], indent=2))
    elif watch:
        with Live(table_of(title, states), auto_refresh=False) as live:
            while {state.state for state in states} & _GOES_ON:
                time.sleep(_WATCH_SECONDS)
                states = read_states(runs)
                live.update(table_of(title, states), refresh=True)
    else:
        show(table_of(title, states))
        _show_logs(states)
        _show_counts(states)
    raise SystemExit(_exit_code(states))


@click.command()
@click.argument("run")
@runs_option
@click.option("-f", "--follow", is_flag=True, help="Go on as it grows.")
def logs(run: str, output_dir: Path, follow: bool) -> None:
    """Show what RUN has printed."""
    folder = RunFolder(find_run(output_dir, run))
    paths = [str(path) for path in logs_of(folder)]
    if not paths:
        (state,) = read_states({folder.path: {}})
        raise UserError(f"{folder.path}: has printed nothing yet; {state.state} {state.error}")
    os.execvp("tail", ["tail", "--lines=+1", *(["--follow=name"] if follow else []), *paths])


@click.command()
@click.argument("names", metavar="SWEEP|RUN...", nargs=-1, required=True)
@runs_option
def cancel(names: Sequence[str], output_dir: Path) -> None:
    """Take runs out of the queue; those under way save and leave."""
    runs = [RunFolder(path) for path in find_runs(output_dir, names)]
    with submitting(output_dir):
        queue = cluster.queue()
        live = live_jobs(runs, queue)
        others = [RunFolder(path) for path in find_runs(output_dir, []) if path not in live]
        still_wanted = {RunFolder(path).job()["canary"] for path in live_jobs(others, queue)}
        wanted = {RunFolder(path).job()["canary"] for path in live} - still_wanted - {None}
        canaries = live_jobs([RunFolder(Path(path)) for path in wanted], queue)
        cluster.cancel(job.id for job in (*live.values(), *canaries.values()))
    click.echo(f"cancelled {len(live)} of {len(runs)} runs; adaspan resubmit sends them again")
    for run in runs:
        if run.path not in live and run.is_held():
            click.echo(f"{run.path}: trained without SLURM; stop it where it was started")


@click.command()
@click.argument("names", metavar="SWEEP|RUN...", nargs=-1, required=True)
@runs_option
def resubmit(names: Sequence[str], output_dir: Path) -> None:
    """Submit what is not done and not under way again: each run's settings and code as before.

    Jobs that SLURM holds back because a node failed as they started are released. Exit code: 1 if
    some runs were never submitted at all.
    """
    runs = [RunFolder(path) for path in find_runs(output_dir, names)]
    with submitting(output_dir):
        live = settled_jobs(runs)
        missing = [
            run
            for run in runs
            if run.path not in live and not run.is_held() and run.status().get("state") != "done"
        ]
        unknown = [run for run in missing if not was_submitted(run)]
        for run in unknown:
            click.echo(f"{run.path}: was never submitted to SLURM; python launch.py does that")
        missing = [run for run in missing if run not in unknown]
        released = cluster.release_held_back(live.values())
        for run, id in submit_again(missing):
            click.echo(f"job {id} · {run.path}")
    others = [run for run in runs if run not in (*missing, *unknown)]
    under_way = sum(run.path in live or run.is_held() for run in others)
    click.echo(
        f"{len(missing)} of {len(runs)} runs submitted, {under_way} under way"
        + (f", {released} of them released: a node had failed as they started" if released else "")
    )
    if unknown:
        raise SystemExit(1)


@click.command()
@click.argument("run")
@runs_option
def explain(run: str, output_dir: Path) -> None:
    """Show the command that gives RUN, and how it differs from the default and its siblings."""
    path = find_run(output_dir, run)
    register(_CONF)
    (state,) = read_states({path: {}})
    click.echo(f"run      {path}")
    click.echo(f"state    {state.state} · step {state.step}/{state.steps}")
    if state.error:
        click.echo(f"error    {state.error} · {state.log}")
    click.echo(f"command  {explanation.command(path, _CONF)}")
    for line in explanation.against_default(path, _CONF):
        click.echo(f"default  {line}")
    for name, runs in sweeps_of(output_dir, path).items():
        click.echo(f"sweep    {name}, {len(runs)} runs")
        for line in explanation.against_siblings(path, list(runs)):
            click.echo(f"         {line}")


def _exit_code(states: Sequence[RunState]) -> int:
    found = {state.state for state in states}
    if found & _GOES_ON:
        return 3
    return 0 if found == {"done"} else 1


def _show_logs(states: Sequence[RunState]) -> None:
    """Where there is more to read of what ended badly."""
    for state in states:
        if state.error and Path(state.log).exists():
            click.echo(f"{state.state} {state.run}: {state.log}")


def _show_counts(states: Sequence[RunState]) -> None:
    counts: dict[str, int] = {}
    for state in states:
        counts[state.state] = counts.get(state.state, 0) + 1
    told = [f"{count} {state}" for state, count in counts.items()]
    if reasons := sorted({state.slurm for state in states if "(" in state.slurm}):
        told.append(", ".join(reasons))  # why they wait
    click.echo(" · ".join(told))
