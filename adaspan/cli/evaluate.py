"""Score a trained model on any text."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from adaspan import __version__
from adaspan.cli.choose import (
    chosen_device,
    chosen_encoding,
    chosen_text,
    chosen_weights,
    device_option,
    encoding_option,
    runs_option,
    warn_of_other_code,
    weights_option,
)
from adaspan.errors import UserError
from adaspan.runs.code.fingerprint import code_of_run, short
from adaspan.runs.folder import RunFolder
from adaspan.status.find import find_run

_LESS_MEMORY = "lower --batch-size; the figures stay the same"


@click.command()
@click.argument("run")
@runs_option
@weights_option
@click.option(
    "--data",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Any text, whole, in place of the run's own; - is stdin. Symbols that the model lacks are "
    "counted.",
)
@encoding_option
@click.option(
    "--split",
    "splits",
    help="Parts of the run's own text, such as valid,test, which is the default.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="bfloat16 is faster on GPUs; it moved figures by up to 6e-4 bits a symbol in trials.",
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Parts that are read side by side.")
@click.option("--block-size", type=click.IntRange(min=1), help="Tokens that are read in one step.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs: a list of rows.")
def evaluate(
    run: str,
    output_dir: Path,
    weights: str,
    data: Path | None,
    encoding: str | None,
    splits: str | None,
    precision: str,
    batch_size: int | None,
    block_size: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Score the model of RUN, or of an exported folder, on a text.

    Each token counts once; batch and block size change nothing but speed and memory. The results
    are added to evaluations.jsonl in the run's folder.
    """
    wanted = _wanted_splits(splits, data)
    if encoding and not data:
        raise UserError(f"--encoding {encoding}: is of the file that --data names; add --data FILE")
    path = find_run(output_dir, run)
    if data:
        _require_there(data)

    from adaspan.train.device import choose_precision, device_name
    from adaspan.train.evaluate import pieces_side_by_side
    from adaspan.train.load import load_with_weights
    from adaspan.train.out_of_memory import memory_errors_as_one_line
    from adaspan.trained.text_score import TextScorer, other_text, own_texts

    where = chosen_device(device)
    model, vocabulary, config, read = load_with_weights(path, where, chosen_weights(weights))
    warn_of_other_code(path)
    if data is None:
        texts = own_texts(path, config, vocabulary, read.data_sha256, wanted)
    else:
        content = chosen_text("--data", data, chosen_encoding(encoding), vocabulary)
        texts = [other_text(data, content, vocabulary)]
    scorer = TextScorer(
        model,
        vocabulary,
        where,
        choose_precision(precision, where),
        batch_size or pieces_side_by_side(config.train),
        block_size or config.train.block_size,
    )
    about = {
        "time": time.time(),
        "weights": weights,
        "step": read.step,
        "precision": precision,
        "device": device_name(where),
        "adaspan": __version__,
        "code": short(code_of_run(config.extensions)),
    }
    rows = []
    with memory_errors_as_one_line(where, _LESS_MEMORY), _progress() as progress:
        for text in texts:
            task = progress.add_task(text.title, total=scorer.blocks(text))
            rows.append(about | scorer.score(text, partial(progress.advance, task)))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        for text, row in zip(texts, rows, strict=True):
            click.echo(scorer.line(text, row, vocabulary.unit))
    _keep(path, rows)


def _wanted_splits(splits: str | None, data: Path | None) -> list[str]:
    if splits and data:
        raise UserError("--split, --data: leave one of them out; a text of your own is read whole")
    given = "valid,test" if splits is None else splits
    wanted = [split.strip() for split in given.split(",")]
    for split in wanted:
        if split not in ("train", "valid", "test"):
            raise UserError(f"--split {splits}: must be train, valid, test, or several: valid,test")
    return wanted


def _require_there(data: Path) -> None:
    """Raise `UserError` before torch is waited for."""
    if str(data) != "-" and not data.exists():
        raise UserError(f"--data {data}: No such file or directory")


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # which may be a file
        disable=not console.is_terminal,
    )


def _keep(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Add the results to the run's folder, unless it may be looked at only."""
    folder = RunFolder(path)
    try:
        for row in rows:
            folder.add_evaluation(row)
    except OSError as error:
        click.echo(f"not kept: {folder.evaluations}: {error.strerror}", err=True)
