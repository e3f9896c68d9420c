"""Sends one run to W&B: `python -m adaspan.tracking.send FOLDER`.

In a process of its own, so that it ends what it has begun whatever becomes of the command that
started it; meanwhile it holds the run, so that nobody sends it twice.

`wandb sync` sends what the client has written, with the times at which it was logged. But it starts
with a file's first row whatever W&B has already, and of a row that comes twice W&B has two; and it
marks a file as sent, and exits with 0, when it has failed. So it gets only files that were never
begun. In every other case the server is asked for the last row that it has, and the later ones come
from `metrics.jsonl`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from adaspan.config.frozen import read_run, read_values
from adaspan.errors import RunError, UserError, reported_in_one_line
from adaspan.runs.failures import State
from adaspan.runs.figures import is_final
from adaspan.runs.folder import RunFolder
from adaspan.tracking import client
from adaspan.tracking.account import signed_in
from adaspan.tracking.run import Tracker, description, last_step

_ENVIRONMENT = {
    # How often W&B's client tries again before it gives up; its own answer is many hours.
    "WANDB__FILE_STREAM_RETRY_MAX": "5",
    "WANDB__FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "10",
    "WANDB__FILE_TRANSFER_RETRY_MAX": "5",
    "WANDB__FILE_TRANSFER_RETRY_WAIT_MAX_SECONDS": "10",
    "WANDB__GRAPHQL_RETRY_MAX": "5",
    "WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS": "10",
    # As while it was trained.
    "WANDB_DISABLE_CODE": "true",
    "WANDB_DISABLE_GIT": "true",
    "WANDB__DISABLE_MACHINE_INFO": "true",
}


def doubt(folder: Path) -> None:
    """Have W&B asked what it lacks, though all was sent: a run may have been deleted there."""
    if (folder / "wandb").exists():
        _unsent(folder).touch()


def has_news(folder: Path) -> bool:
    """Whether W&B lacks something of a run that was tracked, as far as is known here."""
    offline = filter(_is_offline, _parts(folder))
    return _unsent(folder).exists() or any(not _mark(part).exists() for part in offline)


def send(run: RunFolder) -> None:
    """Send what W&B lacks of a run, or wait until another process has.

    Raises:
        UserError: the run is being trained.
        RunError: W&B did not take it.
    """
    with FileLock(run.path / "wandb" / ".sending"):
        if not has_news(run.path):
            return
        with run.held():
            parts = _parts(run.path)  # none of them is still written
        new = [part for part in parts if _is_offline(part) and not _mark(part).exists()]
        was_sent = len(new) < len(parts)
        rows = _rows_at_wandb(run.path)
        is_gone = rows is None and was_sent
        are_next = was_sent and all(map(_is_offline, parts)) and not any(map(_begun, new))
        by_files = new and not is_gone and (not rows or are_next)
        if not by_files or _send_files(new) or _lack_rows(new, run):
            parts += _send_rest(run, anew=rows is None and not by_files)
        later = [part for part in _parts(run.path) if part not in parts]
        for part in later:  # of a training that has begun meanwhile
            _mark(part).unlink(missing_ok=True)
        if later or run.is_held():
            _unsent(run.path).touch()
        else:
            _unsent(run.path).unlink(missing_ok=True)


def _rows_at_wandb(folder: Path) -> int | None:
    """How many rows W&B has of a run, whoever has sent them; None if it knows no such run."""
    import wandb

    tracking = read_values(folder)["tracking"]
    try:
        with signed_in() as default_entity:
            project = f"{tracking['entity'] or default_entity}/{tracking['project']}"
            found = wandb.Api().runs(project, {"name": _run_id(folder)})
            rows = [run.history_line_count or 0 for run in found]
            return rows[0] if rows else None
    except ValueError as error:
        if "Could not find project" not in str(error):
            raise RunError(str(error)) from error
        return None
    except UserError as error:
        raise RunError(str(error)) from error


def _send_files(parts: Sequence[Path]) -> str:
    """Let `wandb sync` send files, of which W&B has nothing yet, in the order of their start.

    Returns:
        What went wrong; empty if nothing did.
    """
    with tempfile.TemporaryDirectory() as scratch:  # for its log
        answer = subprocess.run(
            [sys.executable, "-m", "wandb", "sync", *map(str, parts)],
            env={**_ENVIRONMENT, **os.environ, "WANDB_DIR": scratch},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    said = answer.stdout + answer.stderr
    errors = re.findall(r"^wandb: ERROR (?:\[.*?\] )?(.*?)(?:\. |$)", said, re.MULTILINE)
    if not errors and all(_mark(part).exists() for part in parts):
        return ""
    for part in parts:
        _mark(part).unlink(missing_ok=True)
    return str(errors[0]) if errors else (said.splitlines() or ["no word"])[-1]


def _lack_rows(parts: Sequence[Path], run: RunFolder) -> bool:
    """Whether a kill kept rows from the files that W&B's client wrote, or the run's end."""
    if run.state == State.RUNNING:
        return True
    rows = [row["step"] for row in run.rows() if not is_final(row)]
    return bool(rows) and max(map(last_step, parts)) < rows[-1]


def _send_rest(run: RunFolder, *, anew: bool) -> list[Path]:
    """Send the rows after the last that W&B has, and how the run ended.

    Args:
        run: its folder.
        anew: W&B does not know the run, perhaps no more; if not, it does.

    Returns:
        The part of the run that this adds to its folder.
    """
    values, rows, state = read_values(run.path), run.rows(), run.state
    try:
        rest = _begun_anew(run) if anew else _Rest(run.path, values)
        for row in rows:
            if not is_final(row):
                rest.log(row)
        if state == State.DONE:
            wanted = values["tracking"].get("upload_checkpoint")
            rest.finish(rows, run.checkpoints / "best.pt" if wanted else None)
        else:
            rest.leave(resumable=state == State.RESUMABLE)
    except Exception as error:  # W&B's errors have no base class in common
        raise RunError(str(error).partition("\n")[0]) from error
    return [part for part in _parts(run.path) if part.parent == rest.folder]


class _Strict(Tracker):
    """Raises what goes wrong."""

    @property
    def folder(self) -> Path:
        """Of what it writes itself."""
        return Path(self._run.dir).parent

    @contextmanager
    def _never_stopping(self) -> Iterator[None]:
        yield


def _begun_anew(run: RunFolder) -> _Anew:
    """The run under its own id, or the next one if W&B refuses that, which it does for ever after a
    run was deleted.
    """
    before = _parts(run.path)
    try:
        return _Anew(run, run.restarts())
    except Exception as error:  # W&B's errors have no base class in common
        if "deleted" not in str(error):
            raise
        client.give_up()
        for part in _parts(run.path):
            if part not in before:
                shutil.rmtree(part.parent)
        anew = _Anew(run, run.restarts() + 1)
        run.begin_anew_on_wandb()
        return anew


class _Anew(_Strict):
    """Begins a run on W&B, online or not at all."""

    def __init__(self, run: RunFolder, restarts: int) -> None:
        described = description(read_run(run.path), run, restarts)
        super().__init__(mode="online", folder=run.path, earlier=(), **described)

    def _start(self, mode: str, arguments: dict[str, Any]) -> None:
        self._run = client.start("online", arguments)


class _Rest(_Strict):
    """Goes on with a run that W&B knows."""

    def __init__(self, folder: Path, values: Mapping[str, Any]) -> None:
        self._run_id, self._folder = _run_id(folder), folder
        self._span_limit = values["span"]["limit"]
        arguments = {
            "project": values["tracking"]["project"],
            "entity": values["tracking"]["entity"],
            "id": self._run_id,
            "dir": folder,
            "resume": "must",
        }
        self._run = client.start("online", arguments)
        self._written = self._run.starting_step - 1


def _parts(folder: Path) -> list[Path]:
    """What W&B's client has written of a run, a file each time it was started, in that order."""
    found = folder.glob("wandb/*run-*/run-*.wandb")
    return sorted(found, key=lambda part: part.parent.name.removeprefix("offline-"))


def _run_id(folder: Path) -> str:
    """What W&B's client was told last, or an agent of a W&B sweep told it; else the run's own."""
    if parts := _parts(folder):
        return parts[-1].name.removesuffix(".wandb").rpartition("-")[2]
    return str(description(read_run(folder), RunFolder(folder))["run_id"])


def _is_offline(part: Path) -> bool:
    return part.parent.name.startswith("offline-")


def _mark(part: Path) -> Path:
    """What `wandb sync` leaves beside a file that it has sent."""
    return part.with_name(f"{part.name}.synced")


def _begun(part: Path) -> bool:
    """Whether `wandb sync` has begun to send a file."""
    return part.with_name(f"{part.name}.syncstate").exists()


def _unsent(folder: Path) -> Path:
    """What a tracker leaves as long as W&B does not have everything."""
    return folder / "wandb" / "unsent"


if __name__ == "__main__":
    with reported_in_one_line():
        send(RunFolder(Path(sys.argv[1])))
