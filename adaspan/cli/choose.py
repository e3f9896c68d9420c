"""Which runs a command is about."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from adaspan.errors import UserError
from adaspan.runs.code.fingerprint import in_words
from adaspan.runs.folder import RunFolder
from adaspan.runs.other_code import files_other_here
from adaspan.status.find import Runs, find_runs, find_sweep

if TYPE_CHECKING:
    import torch

    from adaspan.data.vocabulary import Vocabulary

runs_option = click.option(
    "--runs",
    "output_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default="runs",
    show_default=True,
    help="Folder that holds the runs.",
)
weights_option = click.option(
    "--weights",
    default="best",
    show_default=True,
    help="best: with the best quick evaluation; last: of the last checkpoint; or a checkpoint.",
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)

encoding_option = click.option(
    "--encoding",
    help="Of the file, if it is not UTF-8: latin-1, cp1251, …; raw: its bytes as they are.",
)


def chosen_encoding(name: str | None) -> str | None:
    """The encoding that --encoding names; raises `UserError` if there is none such."""
    from adaspan.config.checks import known_encoding

    for mistake in known_encoding("--encoding", name) if name is not None else ():
        raise UserError(mistake.replace("=", " ", 1))
    return name


def chosen_text(option: str, path: Path, encoding: str | None, vocabulary: Vocabulary) -> bytes:
    """What the file holds that an option names, as UTF-8 or bytes; - is stdin."""
    from adaspan.data.textfile import Reading, TextFile

    reading = Reading(encoding, "--encoding ", as_bytes=vocabulary.unit == "bytes")
    text = TextFile(path, f"{option} {path}", reading)
    return b"".join(text.read(sys.stdin.buffer) if str(path) == "-" else text)


def chosen_device(name: str) -> torch.device:
    """The device that --device names; raises `UserError` if it is not there."""
    from adaspan.train.device import choose_device

    try:
        return choose_device(name, local_rank=0)
    except (UserError, RuntimeError):
        raise UserError(f"--device {name}: must be auto, cpu, or a GPU that is here") from None


def chosen_weights(choice: str) -> Literal["best", "last"] | Path:
    """The weights that --weights names."""
    return "best" if choice == "best" else "last" if choice == "last" else Path(choice)


def warn_of_other_code(path: Path) -> None:
    """Say so if other code than this has trained the model that it is about to compute with."""
    if changed := files_other_here(RunFolder(path)):
        warning = f"{path.name} was trained by other code: {in_words(changed)}"
        click.echo(f"adaspan: warning: {warning}", err=True)


def chosen_runs(output_dir: Path, sweep: str | None) -> tuple[str, Runs]:
    """A title, and the runs of one sweep or of all; raises `UserError` if there are none."""
    if sweep is not None:
        return find_sweep(output_dir, sweep)
    runs = find_runs(output_dir, [])
    if not runs:
        raise UserError(f"{output_dir}: no runs here; --runs names another folder")
    return str(output_dir), runs
