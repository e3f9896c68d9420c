"""Take a trained model elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from adaspan.cli.choose import chosen_weights, runs_option, weights_option
from adaspan.status.find import find_run


@click.command(short_help="Write the model of RUN into a folder of files.")
@click.argument("run")
@click.argument("folder", type=click.Path(path_type=Path))
@runs_option
@weights_option
def export(run: str, folder: Path, output_dir: Path, weights: str) -> None:
    """Write the model of RUN into FOLDER: safetensors, configuration and vocabulary.

    `adaspan.load`, `adaspan evaluate` and `adaspan generate` take FOLDER as they take a run.
    """
    path = find_run(output_dir, run)

    from adaspan.trained.export import export as write

    modules = write(path, folder, chosen_weights(weights))
    click.echo(f"{folder}: the model of {path}")
    for module in modules:
        click.echo(f"{module}: is needed with it, for an export has no code: see docs/extending.md")
