"""Submit the jobs of runs again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from adaspan.cli.choose import runs_option
from adaspan.places import LAUNCH
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.slurm import cluster
from adaspan.slurm.lookup import settled_jobs
from adaspan.slurm.submit import resubmit as submit_again
from adaspan.slurm.submit import submitting, was_submitted
from adaspan.status.find import find_runs


@click.command()
@click.argument("names", metavar="SWEEP|RUN...", nargs=-1, required=True)
@runs_option
def resubmit(names: Sequence[str], output_dir: Path) -> None:
    """Resubmit the runs that are not done.

    Also releases jobs held because a node failed at their start. Skips runs that are done or under
    way. Each run keeps the settings and the code of its last submission. Exit code: 1 if some runs
    were never submitted at all.
    """
    runs = [RunFolder(path) for path in find_runs(output_dir, names)]
    with submitting(output_dir):
        live = settled_jobs(runs)
        missing = [
            run
            for run in runs
            if run.path not in live and not run.is_locked() and run.state != State.DONE
        ]
        unknown = [run for run in missing if not was_submitted(run)]
        for run in unknown:
            click.echo(f"{run.path}: was never submitted to SLURM; submit it with {LAUNCH}")
        missing = [run for run in missing if run not in unknown]
        released = cluster.release_held_back(live.values())
        for run, id in submit_again(missing):
            click.echo(f"job {id} · {run.path}")
    others = [run for run in runs if run not in (*missing, *unknown)]
    under_way = sum(run.path in live or run.is_locked() for run in others)
    click.echo(
        f"{len(missing)} of {len(runs)} runs submitted, {under_way} under way"
        + (f", {released} of them released: a node had failed as they started" if released else "")
    )
    if unknown:
        raise SystemExit(1)
