"""The folder of a run: everything that is known of it, readable without adaspan.

config.yaml      resolved; with it the run can be repeated
vocabulary.json  the symbols: with the weights it is a model, without the text
source.json      see `source.py`
status.json      running, done, failed or resumable; step, last error
metrics.jsonl    one row per line: the source of truth
token_spans.json of dynamic spans: how far each token of a short text looks back
slices.json      what each slice of valid cost the best weights: see `slices.py`
evaluations.jsonl  what `adaspan evaluate` has found: one text a line
log.txt          what the terminal showed
output.txt       what a run of a sweep printed, traces included
trace.json.gz    a few updates under torch's profiler, if train.profile=true
job.json         with starts.json, of its jobs on a cluster: see `slurm/job_record.py`
model.safetensors  weights of an export, which has no checkpoints: see `train/weights.py`
checkpoints/     see `train/checkpoint.py`
wandb/           see `tracking/files.py`
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from adaspan.config.resolved import read_values
from adaspan.errors import MAY_NOT_WRITE, RunError, UserError
from adaspan.files import TEMPORARY_SUFFIX, full_disk_named, read_json, replacing, write_json
from adaspan.runs.failures import Failure, FailureClass, State
from adaspan.runs.figures import Row
from adaspan.runs.figures.rows import is_final, with_present_keys
from adaspan.runs.source import Source

_LOCK_SECONDS = 2.0
# Beside the keys of a configuration: what was read.
DATA_KEY = "data.sha256"


class RunFolder:
    """The files of one run, apart from its checkpoints."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.log = path / "log.txt"
        self.output = path / "output.txt"
        self.trace = path / "trace.json.gz"
        self.token_spans = path / "token_spans.json"
        self.slices = path / "slices.json"
        self.vocabulary = path / "vocabulary.json"
        self.exported = path / "model.safetensors"
        self.source = Source(path / "source.json")
        self.evaluations = path / "evaluations.jsonl"
        self._metrics = path / "metrics.jsonl"
        self._status = path / "status.json"
        self._lock_path = path / ".lock"
        self._aside = path / ".aside"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other process out of the folder; the lock of a killed process is gone.

        Raises:
            UserError: another process trains this run.
            RunError: the folder cannot be created.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be created ({error.strerror}); fix this, or choose another "
                "output_dir"
            ) from None
        try:
            # `is_locked` takes the lock for a moment, too.
            with FileLock(self._lock_path, timeout=_LOCK_SECONDS):
                for leftover in self.path.glob(f"*{TEMPORARY_SUFFIX}"):  # of a killed process
                    leftover.unlink()
                yield
        except Timeout:
            raise UserError(
                f"{self.path}: another process is training this run; wait for it, or change a value"
            ) from None

    def is_locked(self) -> bool:
        """Whether a process trains this run now."""
        if not self.path.exists():
            return False
        try:
            with FileLock(self._lock_path, timeout=0):
                return False
        except Timeout:
            return True
        except OSError as error:
            if error.errno in MAY_NOT_WRITE:  # a run that may be looked at only
                return False
            raise

    def newest_checkpoint(self) -> int:
        """After how many updates the newest checkpoint was saved; 0 if there is none."""
        steps = (path.stem.partition("_")[2] for path in self.checkpoints.glob("step_*.pt"))
        return max(map(int, steps), default=0)

    def freeze(self, config_yaml: str, data_fingerprint: str) -> None:
        """Write down what a process that starts later will train, and on which data."""
        self.write_config(config_yaml)
        self.source.fix_data(data_fingerprint)

    def write_config(self, config_yaml: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        with replacing(self.path / "config.yaml") as file:
            file.write(config_yaml.encode())

    def set_aside(self) -> None:
        """Move away all that the run has produced; until `forget_aside` it can be put back.

        Runs that W&B may know are set aside by `tracking.files.set_aside`.
        """
        self.forget_aside()
        produced = self._produced()
        self._aside.mkdir()
        for path in produced:
            path.rename(self._aside / path.name)

    def forget_aside(self) -> None:
        """Delete what was set aside."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def put_back(self) -> None:
        """Restore what was set aside, in place of what came since."""
        for path in self._produced():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in self._aside.iterdir():
            path.rename(self.path / path.name)
        self._aside.rmdir()

    def _produced(self) -> list[Path]:
        return [path for path in self.path.iterdir() if path not in (self._lock_path, self._aside)]

    def status(self) -> dict[str, Any]:
        """The last status written; empty for a new run."""
        status: dict[str, Any] = read_json(self._status)
        return status

    @property
    def state(self) -> State:
        """The last state that the run itself wrote. Raises `RunError` for an unknown word."""
        written = self.status().get("state", State.WAITING)
        try:
            return State(written)
        except ValueError:
            raise RunError(f"{self._status}: damaged (there is no state {written})") from None

    def failure(self) -> Failure | None:
        """Why it failed, if it did."""
        if self.state != State.FAILED:
            return None
        status = self.status()
        try:
            return Failure(FailureClass(status["error"]), status["message"])
        except (KeyError, ValueError):
            raise RunError(f"{self._status}: damaged (it does not say what failed)") from None

    def set_failed(self, step: int, failure: Failure) -> None:
        self.set_status(State.FAILED, step, error=failure.kind, message=failure.message)

    def set_status(self, state: State, step: int, **more: Any) -> None:
        """Replace the status."""
        write_json(self._status, {"state": state, "step": step, "time": time.time(), **more})

    def last_words(self) -> str:
        """The last line that the run printed: errors are one line, and a trace ends on its own."""
        if not self.output.exists():
            return "no message"
        lines = self.output.read_text(errors="replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "no message")
        return last.removeprefix("adaspan: error: ")

    def append(self, row: Row) -> None:
        """Add a row of metrics; it is on the disk when this returns."""
        _append(self._metrics, row)

    def add_evaluation(self, row: Mapping[str, Any]) -> None:
        """Add what was found out about the model afterwards; the run's own rows stay as they are.

        Raises:
            OSError: the folder may be looked at only, or the disk is full.
        """
        _append(self.evaluations, row)

    def rows(self) -> list[Row]:
        """Every complete row; one that a kill cut short is left out."""
        if not self._metrics.exists():
            return []
        unit = cache(self._unit)
        lines = self._metrics.read_text().split("\n")
        try:
            # The last has no newline after it.
            return [with_present_keys(json.loads(line), unit) for line in lines[:-1]]
        except json.JSONDecodeError as error:
            raise RunError(f"{self._metrics}: damaged ({error})") from None

    def _unit(self) -> str | None:
        """What the tokens of the run are; None where that is not known."""
        data = read_values(self.path).get("data", {})
        if data.get("kind") == "text8":  # whose vocabulary was once one of bytes
            return "characters"
        if self.vocabulary.exists():
            unit: str | None = read_json(self.vocabulary).get("unit")
            return unit
        return data.get("symbols", "bytes") if data else None  # before vocabularies were kept

    def cut_back(self, step: int) -> None:
        """Drop the rows after `step`, and results of a final evaluation: they will come again."""
        self.replace_rows(row for row in self.rows() if row["step"] <= step and not is_final(row))

    def replace_rows(self, rows: Iterable[Row]) -> None:
        """Have these rows in place of those that there are."""
        with replacing(self._metrics) as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows).encode())


def _append(path: Path, row: Mapping[str, Any]) -> None:
    """Add a line in one piece; it is on the disk when this returns."""
    with full_disk_named(path), path.open("a") as file:
        file.write(json.dumps(row, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def open_folder(path: Path | str) -> RunFolder:
    """The folder of a run that has begun.

    Raises:
        UserError: there is none.
        ValueError: this is no path.
    """
    if not isinstance(path, str | Path):
        raise ValueError(f"folder={path!r}: must be a path")
    path = Path(path).expanduser()
    if not (path / "config.yaml").exists():
        there = "has no config.yaml, it is no run's folder" if path.exists() else "no such folder"
        raise UserError(f"{path}: {there}; adaspan status shows the runs")
    return RunFolder(path)
