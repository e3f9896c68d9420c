"""Cancel the jobs of runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from adaspan.cli.choose import runs_option
from adaspan.runs.folder import RunFolder
from adaspan.slurm import cluster
from adaspan.slurm.job_record import job_of
from adaspan.slurm.lookup import live_jobs
from adaspan.slurm.submit import submitting
from adaspan.status.find import find_runs


@click.command()
@click.argument("names", metavar="SWEEP|RUN...", nargs=-1, required=True)
@runs_option
def cancel(names: Sequence[str], output_dir: Path) -> None:
    """Cancel SLURM jobs; a running run saves a checkpoint first."""
    runs = [RunFolder(path) for path in find_runs(output_dir, names)]
    with submitting(output_dir):
        queue = cluster.queue()
        live = live_jobs(runs, queue)
        others = [RunFolder(path) for path in find_runs(output_dir, []) if path not in live]
        canaries_to_cancel = _canaries(live) - _canaries(live_jobs(others, queue))
        canaries = live_jobs([RunFolder(path) for path in canaries_to_cancel], queue)
        cluster.cancel(job.id for job in (*live.values(), *canaries.values()))
    click.echo(f"cancelled {len(live)} of {len(runs)} runs; adaspan resubmit submits them again")
    for run in runs:
        if run.path not in live and run.is_locked():
            click.echo(f"{run.path}: trained without SLURM; stop it where it was started")


def _canaries(paths: Iterable[Path]) -> set[Path]:
    """What the jobs of runs wait for."""
    jobs = (job_of(RunFolder(path)) for path in paths)
    return {job.canary for job in jobs if job and job.canary}
