"""Bring a checkpoint of the public code along."""

from __future__ import annotations

from pathlib import Path

import click

from adaspan.cli.choose import runs_option

_FILE = click.Path(path_type=Path)


@click.command("import", short_help="Make a run of a checkpoint of the public code.")
@click.argument("file", type=_FILE)
@click.option(
    "--data",
    required=True,
    type=_FILE,
    help="Folder that it was trained on, with train.txt, valid.txt and test.txt.",
)
@click.option(
    "--ramp",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Of its spans (--adapt-span-ramp there), which a checkpoint does not tell.",
)
@runs_option
def import_(file: Path, data: Path, ramp: int, output_dir: Path) -> None:
    """Make a run of FILE, a checkpoint of github.com/facebookresearch/adaptive-span.

    Only tensors and plain values are read from FILE. The run can be evaluated, exported and can
    write text; it cannot be trained on: FILE tells neither dropout nor how rates and data went on.
    """
    from adaspan.trained.public_code import import_checkpoint

    path = import_checkpoint(file, data, output_dir, ramp)
    click.echo(f"{path}\nnext  adaspan evaluate {path}")
