"""Weights & Biases, and no other module knows it. Tracking never stops training: whatever goes
wrong here is a warning, and the run folder holds every figure in any case.

A run that goes on after a kill continues the same W&B run with every row exactly once: what W&B has
safely written is asked for first, and what it lacks comes from `metrics.jsonl`.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from adaspan.run_folder import Row

_GIVE_UP_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Tracker:
    """One W&B run, started on construction.

    Args:
        mode: offline, online or disabled.
        project, entity: where the run belongs.
        folder: the run folder; W&B writes below `folder/wandb`.
        run_id: the run's identity, so that a resumed run is the same W&B run.
        config: nested plain values.
        earlier: rows of the run so far, one a step; none for a run that starts (over).
        tags: to find the run by.
    """

    def __init__(
        self,
        *,
        mode: str,
        project: str,
        entity: str | None,
        folder: Path,
        run_id: str,
        config: dict[str, Any],
        earlier: Sequence[Row],
        tags: Sequence[str] = (),
    ) -> None:
        self._run: Any = None
        self._written = -1  # the last step that W&B already has
        if mode == "disabled":
            return
        arguments = {
            "project": project,
            "entity": entity,
            "dir": folder,
            "id": run_id,
            "name": folder.name,
            "config": config,
            "job_type": "train",
            "tags": tags,
            "resume": "allow" if earlier else None,
        }
        with self._never_stopping():
            self._start(mode, folder, arguments)
        for row in earlier:
            self.log(row)

    def _start(self, mode: str, folder: Path, arguments: dict[str, Any]) -> None:
        # Before the import: W&B reads it there.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        logging.raiseExceptions = False  # W&B's own log on a full disk must not print tracebacks
        if mode == "online":
            try:
                if wandb.login(prompt=False):
                    self._run = wandb.init(settings=_settings("online"), **arguments)
                    self._written = self._run.step - 1
                    return
                reason = "no key (`wandb login` or WANDB_API_KEY)"
            except Exception as error:  # the network, the server, a wrong key: all alike here
                reason = _first_line(error)
                # Its server may still be answering what was just given up; to break the connection
                # then can make the client wait for minutes.
                time.sleep(_GIVE_UP_SECONDS)
                wandb.teardown()  # or the id counts as in use
            _log.warning("W&B: %s; tracking offline instead", reason)
        self._written = max((_last_step(file) for file in _offline_files(folder)), default=-1)
        self._run = wandb.init(settings=_settings("offline"), **arguments)

    def log(self, row: Row) -> None:
        """Send a row, unless W&B has its step already."""
        if self._run is not None and row["step"] > self._written:
            values = {key: value for key, value in row.items() if key != "step"}
            with self._never_stopping():
                self._run.log(values, step=row["step"])

    def summarize(self, figures: Row) -> None:
        """Set values of the run's summary; W&B sorts by names with underscores only."""
        if self._run is not None:
            with self._never_stopping():
                self._run.summary.update(
                    {key.replace("/", "_"): value for key, value in figures.items()}
                )

    def finish(self) -> None:
        """The run is done."""
        if self._run is not None:
            with self._never_stopping():
                self._run.finish()

    def leave(self, *, resumable: bool) -> None:
        """End W&B's part of a run that is not done: W&B shows it as preempted or as failed."""
        if self._run is not None:
            with self._never_stopping():
                if resumable:
                    self._run.mark_preempting()
                self._run.finish(exit_code=1)

    @contextmanager
    def _never_stopping(self) -> Iterator[None]:
        """At W&B's first failure say so, once, and go on without it."""
        try:
            yield
        except Exception as error:  # W&B raises what its broken pipes raise: no narrower class
            _log.warning("W&B stopped: %s; the run folder has it all", _first_line(error))
            self._run = None


def _settings(mode: Literal["online", "offline"]) -> Any:
    import wandb

    return wandb.Settings(
        mode=mode,
        silent=True,
        console="off",
        # What a run needs to be repeated is in its folder; nothing more leaves the machine.
        disable_code=True,
        disable_git=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        x_transaction_log_flush_interval=1.0,  # a kill loses the last second, not fifteen
    )


def _offline_files(folder: Path) -> list[Path]:
    return list(folder.glob("wandb/offline-run-*/run-*.wandb"))


def _last_step(file: Path) -> int:
    """The last step in an offline file, as W&B itself reads it; -1 if there is none."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(file)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    step = json.loads(answer.stdout)["summary"].get("_step", -1)
    return int(step)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
