"""One folder a run: everything that is known of it, readable without adaspan.

config.yaml      resolved; with it the run can be repeated
vocabulary.json  the symbols: with the weights it is a model, without the text
source.json      commit, uncommitted changes, versions, machine
status.json      running, done, failed or resumable; step, last error
metrics.jsonl    one row a line: the source of truth
log.txt          what the terminal showed
output.txt       what a run of a sweep printed, traces included
trace.json.gz    when what happened in a few updates, if train.profile=true
job.json         the run's last job on a cluster, written by whoever submits
starts.json      how often that job started, written by the job
checkpoints/     see `checkpoint.py`
wandb/           see `tracking/run.py`
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from adaspan.errors import RunError, UserError
from adaspan.files import TEMPORARY_SUFFIX, replacing, write_json
from adaspan.places import CODE, IS_INSTALLED
from adaspan.runs.extensions import extension_records
from adaspan.runs.failures import Failure, FailureClass, State
from adaspan.runs.figures import Row, is_final, with_present_keys

_LOCK_SECONDS = 2.0
_FINGERPRINT_DIGITS = 12
# Beside the keys of a configuration: what was read.
DATA_KEY = "data.sha256"

# In a copy of the code: what `code_version` said of the original.
SOURCE_OF_SNAPSHOT = "source.json"


class RunFolder:
    """The files of one run, apart from its checkpoints."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.log = path / "log.txt"
        self.output = path / "output.txt"
        self.trace = path / "trace.json.gz"
        self.vocabulary = path / "vocabulary.json"
        self._metrics = path / "metrics.jsonl"
        self._status = path / "status.json"
        self._job = path / "job.json"
        self._starts = path / "starts.json"
        self._restarts = path / ".restarts"
        self._lock = path / ".lock"
        self._aside = path / ".aside"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder against every other process; a killed process lets go of it.

        Raises:
            UserError: another process trains this run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            # `is_held` holds it for a moment, too.
            with FileLock(self._lock, timeout=_LOCK_SECONDS):
                for leftover in self.path.glob(f"*{TEMPORARY_SUFFIX}"):  # of a killed process
                    leftover.unlink()
                yield
        except Timeout:
            raise UserError(
                f"{self.path}: this very run is being trained by another process; "
                "wait for it, or change a value"
            ) from None

    def is_held(self) -> bool:
        """Whether a process trains this run now."""
        if not self.path.exists():
            return False
        try:
            with FileLock(self._lock, timeout=0):
                return False
        except PermissionError:  # somebody else's run, which may be looked at only
            return False
        except Timeout:
            return True

    def freeze(self, config_yaml: str, data_fingerprint: str) -> None:
        """Fix what a process that starts later trains, and on which data."""
        self._write_config(config_yaml)
        if not self.data_fingerprint():
            write_json(self.path / "source.json", {"data_sha256": data_fingerprint})

    def begin(self, config_yaml: str, data_fingerprint: str) -> None:
        """Write what describes the run."""
        self._write_config(config_yaml)
        write_json(self.path / "source.json", _source(data_fingerprint))

    def _write_config(self, config_yaml: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        with replacing(self.path / "config.yaml") as file:
            file.write(config_yaml.encode())

    def clear(self) -> None:
        """Delete all that the run has produced so far. W&B keeps what it has: see `restarts`."""
        self.set_aside()
        self.forget_aside()

    def set_aside(self) -> None:
        """As `clear`, but until `forget_aside` it can still be put back."""
        self.forget_aside()
        restarts = self.restarts() + (self.path / "wandb").exists()
        produced = self._produced()
        self._aside.mkdir()
        for path in produced:
            path.rename(self._aside / path.name)
        if restarts:
            self._restarts.write_text(f"{restarts}\n")

    def forget_aside(self) -> None:
        """Delete what was set aside."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def put_back(self) -> None:
        """Have again what was set aside, and nothing else."""
        for path in self._produced():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in self._aside.iterdir():
            path.rename(self.path / path.name)
        self._aside.rmdir()

    def _produced(self) -> list[Path]:
        return [path for path in self.path.iterdir() if path not in (self._lock, self._aside)]

    def restarts(self) -> int:
        """How often the run was begun anew after W&B had heard of it."""
        return int(self._restarts.read_text()) if self._restarts.exists() else 0

    def begin_anew_on_wandb(self) -> None:
        """Be another run there from now on, which never takes the id of a deleted one again."""
        self._restarts.write_text(f"{self.restarts() + 1}\n")

    def status(self) -> dict[str, Any]:
        """The last status written; empty for a new run."""
        return _read_json(self._status)

    @property
    def state(self) -> State:
        """As the run itself wrote it down last. Raises `RunError` for a word that is no state."""
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

    def job(self) -> dict[str, Any]:
        """The run's last job on a cluster; empty if it had none."""
        return _read_json(self._job)

    def set_job(self, id: str, name: str, records: Path, canary: str | None) -> None:
        """Note that the run was submitted as this job, where that is written down, and the canary's
        folder if it has one.
        """
        job = {"id": id, "name": name, "canary": canary}
        write_json(self._job, {**job, "records": os.path.relpath(records, self.path)})

    def job_records(self) -> Path | None:
        """Where the submissions of its sweep are written down, and what their jobs print."""
        job = self.job()
        return Path(os.path.normpath(self.path / job["records"])) if job else None

    def count_start(self, job_name: str) -> int:
        """Note that a job of the run starts; how often it did since the last new checkpoint."""
        before = _read_json(self._starts)
        steps = [int(path.stem.partition("_")[2]) for path in self.checkpoints.glob("step_*.pt")]
        newest, furthest = max(steps, default=0), before.get("furthest", 0)
        goes_on = before.get("job") == job_name and newest <= furthest
        in_vain: int = before["in_vain"] + 1 if goes_on else 0
        starts = {"job": job_name, "furthest": max(newest, furthest), "in_vain": in_vain}
        write_json(self._starts, starts)
        return in_vain

    def excuse_start(self) -> None:
        """The last start was not in vain: the run was asked to leave."""
        write_json(self._starts, {**_read_json(self._starts), "in_vain": 0})

    def job_has_started(self) -> bool:
        """Whether the run's last job got as far as a node."""
        return _read_json(self._starts).get("job") == self.job().get("name")

    def short_fingerprint(self) -> str:
        """Enough of `data_fingerprint` to tell texts apart; empty for a new run."""
        return (self.data_fingerprint() or "")[:_FINGERPRINT_DIGITS]

    def last_words(self) -> str:
        """The last line that the run printed: errors are one line, and a trace ends on its own."""
        if not self.output.exists():
            return "no word"
        lines = self.output.read_text(errors="replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "no word")
        return last.removeprefix("adaspan: error: ")

    def source(self) -> dict[str, Any]:
        """Commit, uncommitted changes, versions, data: what the run was begun with."""
        return _read_json(self.path / "source.json")

    def data_fingerprint(self) -> str | None:
        """SHA-256 of the data that the run was begun on; None for a new run."""
        fingerprint: str | None = self.source().get("data_sha256")
        return fingerprint

    def append(self, row: Row) -> None:
        """Add a row of metrics; it is on the disk when this returns."""
        with self._metrics.open("a") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> list[Row]:
        """Every complete row; one that a kill cut short is left out."""
        if not self._metrics.exists():
            return []
        lines = self._metrics.read_text().split("\n")
        try:
            # The last has no newline after it.
            return [with_present_keys(json.loads(line)) for line in lines[:-1]]
        except json.JSONDecodeError as error:
            raise RunError(f"{self._metrics}: damaged ({error})") from None

    def cut_back(self, step: int) -> None:
        """Drop the rows after `step`, and results of a final evaluation: they will come again."""
        rows = [row for row in self.rows() if row["step"] <= step and not is_final(row)]
        with replacing(self._metrics) as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows).encode())


def open_folder(path: Path | str) -> RunFolder:
    """The folder of a run that has begun.

    Raises:
        UserError: there is none.
    """
    path = Path(path).expanduser()
    if not (path / "config.yaml").exists():
        there = "has no config.yaml, it is no run's folder" if path.exists() else "no such folder"
        raise UserError(f"{path}: {there}; adaspan status shows the runs")
    return RunFolder(path)


def code_version(root: Path) -> dict[str, Any]:
    """Commit and uncommitted changes of the code below `root`; the version of an installed one."""
    snapshot = root / SOURCE_OF_SNAPSHOT
    if snapshot.exists():
        return _read_json(snapshot)
    if IS_INSTALLED:  # whatever repository it may lie in is not its own
        return {"commit": None, "diff": None, "version": metadata.version("adaspan")}
    return {"commit": _git(root, "rev-parse", "HEAD"), "diff": _git(root, "diff", "HEAD")}


def _source(data_fingerprint: str) -> dict[str, Any]:
    return {
        **code_version(CODE),
        "data_sha256": data_fingerprint,
        "extensions": extension_records(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {
            name: metadata.version(name)
            for name in ("torch", "numpy", "hydra-core", "omegaconf", "wandb")
        },
    }


def _read_json(path: Path) -> dict[str, Any]:
    """What a file holds; empty if there is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise RunError(f"{path}: damaged ({error})") from None
    return content


def _git(root: Path, *arguments: str) -> str | None:
    """What git answers; None outside a repository."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.decode(errors="replace").strip()
