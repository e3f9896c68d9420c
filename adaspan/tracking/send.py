"""Sends one run to W&B: `python -m adaspan.tracking.send FOLDER`.

In a process of its own, so that it ends what it has begun even if the command that started it
ends; meanwhile it locks the run, so that no other process sends it, too.

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

from adaspan.config.resolved import read_config, read_values
from adaspan.errors import RunError, UserError, reported_in_one_line
from adaspan.runs.failures import State
from adaspan.runs.figures.rows import is_final
from adaspan.runs.folder import RunFolder
from adaspan.tracking import client
from adaspan.tracking.account import signed_in
from adaspan.tracking.files import Part, TrackedFiles
from adaspan.tracking.internals import FEW_RETRIES, NO_MACHINE_INFO, UnreadableError
from adaspan.tracking.run import Tracker, config_of_starts, description

_ENVIRONMENT = {
    **FEW_RETRIES,
    # As while it was trained.
    "WANDB_DISABLE_CODE": "true",
    "WANDB_DISABLE_GIT": "true",
    **NO_MACHINE_INFO,
}


def send(folder: RunFolder) -> None:
    """Send what W&B lacks of a run, or wait until another process has.

    Raises:
        UserError: the run is being trained.
        RunError: W&B did not take it.
    """
    files = TrackedFiles(folder.path)
    with files.sending():
        if not files.has_news():
            return
        with folder.lock():
            parts = files.parts()  # none of them is still written
        new = [part for part in parts if part.is_offline and not part.is_sent]
        was_sent = len(new) < len(parts)
        rows = _rows_at_wandb(folder.path)
        is_gone = rows is None and was_sent
        are_offline = all(part.is_offline for part in parts)
        are_next = was_sent and are_offline and not any(part.is_begun for part in new)
        by_files = new and not is_gone and (not rows or are_next)
        if not by_files or _send_files(new) or _lack_rows(new, folder):
            parts += _send_rest(folder, anew=rows is None and not by_files)
        later = [part for part in files.parts() if part not in parts]
        for part in later:  # of a training that has begun meanwhile
            part.mark_sent(False)
        files.mark_sent(not later and not folder.is_locked())


def _rows_at_wandb(path: Path) -> int | None:
    """How many rows W&B has of a run, whoever sent them; None if it knows no such run."""
    import wandb

    tracking = read_values(path)["tracking"]
    try:
        with signed_in() as default_entity:
            project = f"{tracking['entity'] or default_entity}/{tracking['project']}"
            runs = wandb.Api().runs(project, {"name": _run_id(path)})
            rows = [run.history_line_count or 0 for run in runs]
            return rows[0] if rows else None
    except ValueError as error:
        if "Could not find project" not in str(error):
            raise RunError(str(error)) from error
        return None
    except UserError as error:
        raise RunError(str(error)) from error


def _send_files(parts: Sequence[Part]) -> str:
    """Let `wandb sync` send files, of which W&B has nothing yet, in the order of their start.

    Returns:
        The error; empty if there was none.
    """
    with tempfile.TemporaryDirectory() as scratch:  # for its log
        answer = subprocess.run(
            [sys.executable, "-m", "wandb", "sync", *(str(part.file) for part in parts)],
            env={**_ENVIRONMENT, **os.environ, "WANDB_DIR": scratch},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    output = answer.stdout + answer.stderr
    errors = re.findall(r"^wandb: ERROR (?:\[.*?\] )?(.*?)(?:\. |$)", output, re.MULTILINE)
    if not errors and all(part.is_sent for part in parts):
        return ""
    for part in parts:
        part.mark_sent(False)
    return str(errors[0]) if errors else (output.splitlines() or ["no message"])[-1]


def _lack_rows(parts: Sequence[Part], folder: RunFolder) -> bool:
    """Whether a kill kept rows from the files that W&B's client wrote, or the run's end."""
    if folder.state == State.RUNNING:
        return True
    rows = [row["step"] for row in folder.rows() if not is_final(row)]
    try:
        return bool(rows) and max(part.last_step() for part in parts) < rows[-1]
    except UnreadableError:  # then the server is asked
        return True


def _send_rest(folder: RunFolder, *, anew: bool) -> list[Part]:
    """Send the rows after the last that W&B has, and how the run ended.

    Args:
        folder: of the run.
        anew: W&B does not know the run, perhaps no more; if not, it does.

    Returns:
        The part of the run that this adds to its folder.
    """
    values, rows, state = read_values(folder.path), folder.rows(), folder.state
    try:
        rest = _begun_anew(folder) if anew else _Rest(folder.path, values)
        for row in rows:
            if not is_final(row):
                rest.log(row)
        if state == State.DONE:
            uploads_weights = values["tracking"].get("upload_checkpoint")
            rest.finish(rows, folder.checkpoints / "best.pt" if uploads_weights else None)
        else:
            rest.leave(resumable=state == State.RESUMABLE)
    except Exception as error:  # W&B's errors have no base class in common
        raise RunError(str(error).partition("\n")[0]) from error
    return [part for part in TrackedFiles(folder.path).parts() if part.path == rest.path]


class _Strict(Tracker):
    """Raises what goes wrong."""

    @property
    def path(self) -> Path:
        """Of what it writes itself."""
        return Path(self._run.dir).parent

    @contextmanager
    def _never_stopping(self) -> Iterator[None]:
        yield


def _begun_anew(folder: RunFolder) -> _Anew:
    """The run under its own id, or the next one if W&B refuses that, which it does for ever after a
    run was deleted.
    """
    files = TrackedFiles(folder.path)
    before, restarts = files.parts(), files.restarts()
    try:
        return _Anew(folder, restarts)
    except Exception as error:  # W&B's errors have no base class in common
        if "deleted" not in str(error):
            raise
        client.give_up()
        for part in files.parts():
            if part not in before:
                shutil.rmtree(part.path)
        anew = _Anew(folder, restarts + 1)
        files.set_restarts(restarts + 1)
        return anew


class _Anew(_Strict):
    """Begins a run on W&B, online or not at all."""

    def __init__(self, folder: RunFolder, restarts: int) -> None:
        described = description(read_config(folder.path), folder, restarts)
        super().__init__(mode="online", path=folder.path, earlier=(), **described)

    def _start(self, mode: str, arguments: dict[str, Any]) -> None:
        self._run = client.start("online", arguments)


class _Rest(_Strict):
    """Goes on with a run that W&B knows."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self._run_id, self._files = _run_id(path), TrackedFiles(path)
        self._span_limit = values["span"]["limit"]
        arguments = {
            "project": values["tracking"]["project"],
            "entity": values["tracking"]["entity"],
            "id": self._run_id,
            "dir": path,
            "config": config_of_starts(RunFolder(path).source.starts()),
            "resume": "must",
        }
        self._run = client.start("online", arguments)
        self._written = self._run.starting_step - 1


def _run_id(path: Path) -> str:
    """The id that W&B's client used last; else the run's own."""
    own = description(read_config(path), RunFolder(path))["run_id"]
    return TrackedFiles(path).last_run_id() or str(own)


if __name__ == "__main__":
    with reported_in_one_line():
        send(RunFolder(Path(sys.argv[1])))
