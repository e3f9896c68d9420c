"""Send runs to W&B."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from adaspan.cli.choose import runs_option
from adaspan.config.resolved import read_values
from adaspan.console import Console
from adaspan.errors import RunError, UserError
from adaspan.runs.failures import UNDER_WAY
from adaspan.runs.folder import RunFolder
from adaspan.status.find import find_runs
from adaspan.status.state import standings
from adaspan.tracking.files import TrackedFiles

_TRAINED = "still being trained"


@click.command()
@click.argument("names", metavar="[SWEEP|RUN]...", nargs=-1)
@runs_option
@click.option("--again", is_flag=True, help="Ask W&B again about runs that were sent before.")
def sync(names: Sequence[str], output_dir: Path, again: bool) -> None:
    """Send to W&B whatever it does not have yet.

    Without a name: for all runs. Skips runs that are still being trained. Exit code: 0 all was
    sent, 1 some could not be sent.
    """
    from adaspan.tracking.sync import send_all

    runs = find_runs(output_dir, names)
    if not runs:
        raise UserError(f"{output_dir}: no runs here; --runs names another folder")
    ended, counts = [], {"sent": 0, "had nothing new": 0}
    console = Console(highlight=False, markup=False, soft_wrap=True)

    def count(what: str, message: str = "") -> None:
        counts[what] = counts.get(what, 0) + 1
        if message:
            console.print(message)

    folders = [RunFolder(path) for path in runs]
    for run, standing in zip(folders, standings(folders), strict=True):
        if standing.state in UNDER_WAY or run.is_locked():
            count(_TRAINED, f"{run.path}: {_TRAINED}, left alone")
            continue
        files = TrackedFiles(run.path)
        if again:
            files.mark_unsent()
        if not files.has_news():
            count("not tracked" if _mode(run.path) == "disabled" else "had nothing new")
        else:
            ended.append(run.path)

    restarts = {run: TrackedFiles(run).restarts() for run in ended}
    if ended:
        with _bar(console) as bar:
            task = bar.add_task("", total=len(ended))

            def on_end(run: Path, error: UserError | RunError | None) -> None:
                bar.advance(task)
                match error:
                    case None if TrackedFiles(run).restarts() > restarts[run]:
                        count("sent", f"{run}: W&B did not take its id again; sent as another run")
                    case None:
                        count("sent")
                    case UserError():
                        count(_TRAINED, f"{run}: {_TRAINED}, left alone")
                    case RunError():
                        count("not sent", f"{run}: not sent: {error}; type the command again")

            send_all(ended, on_end)
    sent = counts.pop("sent")
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    console.print(", ".join([f"{sent} {'run' if sent == 1 else 'runs'} sent", *parts]))
    if "not sent" in counts:
        raise SystemExit(1)


def _mode(run: Path) -> str:
    values = read_values(run)
    return str(values["tracking"]["mode"]) if values else ""


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("sending"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
