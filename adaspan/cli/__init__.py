"""The command `adaspan`: train runs; watch, stop, resubmit and compare them; use their models.

A file for each sub-command, named like it; `choose.py` has what they share: which runs are meant.
`usage.py` makes one line of a mistake in how they are typed.
"""

from __future__ import annotations

import click

from adaspan import __version__
from adaspan.cli.cancel import cancel
from adaspan.cli.doctor import doctor
from adaspan.cli.evaluate import evaluate
from adaspan.cli.explain import explain
from adaspan.cli.export import export
from adaspan.cli.generate import generate
from adaspan.cli.import_ import import_
from adaspan.cli.logs import logs
from adaspan.cli.report import report
from adaspan.cli.resubmit import resubmit
from adaspan.cli.status import status
from adaspan.cli.sync import sync
from adaspan.cli.train import train
from adaspan.cli.usage import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Train runs; watch, stop, resubmit and compare them; use their models.

    SWEEP is the name of a sweep or its beginning; RUN is a run folder or a part of its name.
    """


for _command in (
    *(train, status, logs, cancel, resubmit, explain, report, sync),
    *(generate, evaluate, export, import_, doctor),
):
    main.add_command(_command)
