"""Show what makes a run what it is."""

from __future__ import annotations

from pathlib import Path

import click

from adaspan.cli.choose import runs_option
from adaspan.config.hydra import register
from adaspan.runs.folder import RunFolder
from adaspan.status import explain as explanation
from adaspan.status.find import find_run, sweeps_of
from adaspan.status.state import read_states


@click.command()
@click.argument("run")
@runs_option
def explain(run: str, output_dir: Path) -> None:
    """Show the command that trains RUN, and how RUN differs.

    It is compared with the default run and with the other runs of its sweeps.
    """
    path = find_run(output_dir, run)
    register()
    (state,) = read_states({path: {}})
    click.echo(f"run      {path}")
    if RunFolder(path).exported.exists():
        click.echo("state    an export: weights, configuration and vocabulary of a run")
    else:
        click.echo(f"state    {state.state} · step {state.step}/{state.steps}")
    if state.error:
        click.echo(f"error    {state.error} · {state.log}")
    source = RunFolder(path).source
    if taken_over := source.continues():
        click.echo(f"began    after step {taken_over[1]} of {taken_over[0]}, which it continues")
    if file := source.imported():
        click.echo(f"imported from {file}; no command trains it")
        click.echo(f"unknown  {explanation.UNKNOWN_OF_IMPORTED}: a checkpoint does not tell")
    else:
        click.echo(f"command  {explanation.command(path)}")
    for line in explanation.starts(path):
        click.echo(f"trained  {line}")
    if line := explanation.code(path):
        click.echo(f"code     {line}")
    if clipped := explanation.clipped_spans(path):
        click.echo(f"spans    {clipped}")
    for line in explanation.against_default(path):
        click.echo(f"default  {line}")
    for name, runs in sweeps_of(output_dir, path).items():
        click.echo(f"sweep    {name}, {len(runs)} runs")
        for line in explanation.against_siblings(path, list(runs)):
            click.echo(f"         {line}")
