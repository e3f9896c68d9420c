"""What a run has printed."""

from __future__ import annotations

import os
from pathlib import Path

import click

from adaspan.cli.choose import runs_option
from adaspan.errors import UserError
from adaspan.runs.folder import RunFolder
from adaspan.status.find import find_run
from adaspan.status.state import logs_of, read_states


@click.command()
@click.argument("run")
@runs_option
@click.option("-f", "--follow", is_flag=True, help="Keep printing what is added.")
def logs(run: str, output_dir: Path, follow: bool) -> None:
    """Show what RUN printed."""
    folder = RunFolder(find_run(output_dir, run))
    paths = [str(path) for path in logs_of(folder)]
    if not paths:
        (state,) = read_states({folder.path: {}})
        raise UserError(f"{folder.path}: has printed nothing yet; {state.state} {state.error}")
    os.execvp("tail", ["tail", "-n", "+1", *(["-F"] if follow else []), *paths])
