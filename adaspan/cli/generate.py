"""Write text with a trained model."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

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
from adaspan.status.find import find_run
from adaspan.units import si

if TYPE_CHECKING:
    from adaspan.data.vocabulary import Vocabulary


@click.command()
@click.argument("run")
@runs_option
@weights_option
@click.option("--prompt", default="", help="Text to continue. Default: the beginning of a line.")
@click.option(
    "--prompt-file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Take it from a file; - is stdin.",
)
@encoding_option
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="How much to write: so many bytes, characters or words.",
)
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    help="Below 1 likely tokens become likelier; 0: always the likeliest.",
)
@click.option("--top-k", type=int, help="Choose among so many of the likeliest tokens.")
@click.option(
    "--top-p",
    default=1.0,
    show_default=True,
    help="Choose among the likeliest tokens that together have this probability.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed, the same text.")
@click.option(
    "--stop", "stops", multiple=True, metavar="TEXT", help="End before this text. May be repeated."
)
@device_option
def generate(
    run: str,
    output_dir: Path,
    weights: str,
    prompt: str,
    prompt_file: Path | None,
    encoding: str | None,
    tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float,
    seed: int,
    stops: tuple[str, ...],
    device: str,
) -> None:
    """Write text with the model of RUN, as it comes.

    Only what the model writes goes to stdout, without the prompt; how fast it was goes to stderr.
    """
    if prompt and prompt_file:
        raise UserError("--prompt, --prompt-file: leave one of them out")
    if "" in stops:
        raise UserError("--stop '': must not be empty")
    if encoding and not prompt_file:
        raise UserError(f"--encoding {encoding}: is of a file; add --prompt-file FILE")
    path = find_run(output_dir, run)

    from adaspan.data.text import decoded, first_token, until
    from adaspan.train.build import flops_of_one_token
    from adaspan.train.device import threads_for_one_token
    from adaspan.train.load import load

    model, vocabulary, config = load(path, chosen_device(device), weights=chosen_weights(weights))
    warn_of_other_code(path)
    if prompt_file:
        beginning = chosen_text("--prompt-file", prompt_file, chosen_encoding(encoding), vocabulary)
    else:
        beginning = os.fsencode(prompt)
    encoded = _encoded(vocabulary, beginning, "--prompt-file" if prompt_file else "--prompt")
    unknown, words = vocabulary.unknown_words(beginning)
    if unknown:
        click.echo(f"{unknown} of {words} words of the prompt are unknown, read as <unk>", err=True)
    try:
        before = encoded or [first_token(vocabulary)]
        writing = model.generate(
            before,
            tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
    except ValueError as error:
        raise UserError(f"--{str(error).replace('_', '-', 1)}") from None
    timed = _Timed(writing)
    ends_line = True
    try:
        with threads_for_one_token(model):
            for piece in until(decoded(vocabulary, timed, before[-1]), stops):
                click.echo(piece, nl=False)
                ends_line = piece.endswith("\n") if piece else ends_line
    finally:
        if not ends_line:
            click.echo()
        cost = flops_of_one_token(config.model, model)
        most = "" if model.current_spans() is not None else "at most "
        click.echo(f"{timed.summary()} · {most}{si(cost)} FLOPs a token", err=True)


def _encoded(vocabulary: Vocabulary, text: bytes, option: str) -> list[int]:
    try:
        return vocabulary.encode(text)
    except ValueError as error:
        raise UserError(f"{option}: {str(error).removeprefix('text: ')}") from None


class _Timed:
    """Tokens as they come, and how fast they came after the first, which waits for the prompt."""

    def __init__(self, tokens: Iterable[int]) -> None:
        self._tokens = tokens
        self._count = 0
        self._first = self._last = 0.0

    def __iter__(self) -> Iterator[int]:
        for token in self._tokens:
            self._last = time.perf_counter()
            self._first = self._first or self._last
            self._count += 1
            yield token

    def summary(self) -> str:
        """One line."""
        took = self._last - self._first
        speed = f" · {(self._count - 1) / took:.0f} tokens/s" if took else ""
        return f"{self._count} token{'s' if self._count != 1 else ''}{speed}"
