"""Train a run or a sweep."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click


@click.command(
    add_help_option=False,  # Hydra has its own
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("words", metavar="KEY=VALUE...", nargs=-1, type=click.UNPROCESSED)
def train(words: Sequence[str]) -> None:
    """Train one run, or a sweep with -m; --help shows the keys."""
    from adaspan.launch import main

    sys.argv[1:] = words  # where Hydra reads them
    main()
