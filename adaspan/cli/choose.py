"""Which runs a command is about."""

from __future__ import annotations

from pathlib import Path

import click

from adaspan.errors import UserError
from adaspan.status.find import Runs, find_runs, find_sweep

runs_option = click.option(
    "--runs",
    "output_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default="runs",
    show_default=True,
    help="Folder that holds the runs.",
)


def chosen_runs(output_dir: Path, sweep: str | None) -> tuple[str, Runs]:
    """A title, and the runs of one sweep or of all; raises `UserError` if there are none."""
    if sweep is not None:
        return find_sweep(output_dir, sweep)
    runs = find_runs(output_dir, [])
    if not runs:
        raise UserError(f"{output_dir}: no runs here; --runs names another folder")
    return str(output_dir), runs
