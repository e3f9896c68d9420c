"""Checkpoints: written whole or not at all, read without running anything that is in them.

checkpoints/step_00000400.pt    the last two: all that going on needs
checkpoints/best.pt             the weights with the best quick evaluation
"""

from __future__ import annotations

import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from adaspan.errors import DiskError, RunError
from adaspan.files import TEMPORARY_SUFFIX, replacing

_KEEP = 2
_DAMAGED = ".damaged"
_log = logging.getLogger(__name__)

State = dict[str, Any]  # tensors, numbers, strings, and lists and dictionaries of them


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.best = path / "best.pt"

    def save(self, step: int, state: State) -> None:
        """Write the state after `step` updates, then drop all but the newest two.

        Raises:
            DiskError: it cannot be written (full disk); earlier checkpoints are untouched.
        """
        self._write(self._path / _name(step), state)
        for path in self._newest_first()[_KEEP:]:
            path.unlink()

    def save_best(self, state: State) -> None:
        """Write the best weights so far. Raises as `save` does."""
        self._write(self.best, state)

    def load_newest(self) -> State | None:
        """The newest state that can be read; None for a run that has none yet.

        A damaged checkpoint is reported and put aside, and the one before it is used.

        Raises:
            RunError: there are checkpoints, and not one can be read.
        """
        for path in self._newest_first():
            try:
                return read_checkpoint(path)
            except RunError as error:
                _log.warning("%s; put aside, trying the one before it", error)
                path.replace(path.with_suffix(_DAMAGED))
        if self._damaged():
            raise RunError(
                f"{self._path}: no checkpoint can be read; train.restart=true starts over"
            )
        return None

    def load_best(self) -> State:
        """The best weights. Raises `RunError` if they cannot be read."""
        return read_checkpoint(self.best)

    def is_empty(self) -> bool:
        """Whether no state was saved so far, not even one that was damaged since."""
        return not self._newest_first() and not self._damaged()

    def steps(self) -> list[int]:
        """After how many updates each state was saved that is still there, the newest first."""
        return [int(path.stem.removeprefix("step_")) for path in self._newest_first()]

    def look_at(self, step: int) -> State:
        """The state after a step, for one who only looks.

        Raises:
            RunError: it is missing, or cannot be read.
        """
        return read_checkpoint(self._path / _name(step))

    def look_at_newest(self) -> State:
        """The newest state, for one who only looks: a damaged one is not put aside.

        Raises:
            RunError: there is none, or it cannot be read.
        """
        for path in self._newest_first():
            return read_checkpoint(path)
        raise RunError(f"{self._path.parent}: has no checkpoint yet, nor an export's weights")

    def _newest_first(self) -> list[Path]:
        return sorted(self._path.glob("step_*.pt"), reverse=True)

    def _damaged(self) -> list[Path]:
        return list(self._path.glob(f"*{_DAMAGED}"))

    def _write(self, path: Path, state: State) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        for leftover in self._path.glob(f"*{TEMPORARY_SUFFIX}"):  # of a killed process
            leftover.unlink()
        try:
            with replacing(path) as file:
                torch.save(state, file)
        except (OSError, RuntimeError) as error:  # torch hides the cause in a RuntimeError
            if "CUDA" in str(error):  # a copy from the GPU, not the disk
                raise
            raise DiskError(
                f"{path}: cannot be written ({_reason(error)}); what was saved before is kept, "
                "make room and type the same command again"
            ) from error


def _name(step: int) -> str:
    return f"step_{step:08d}.pt"


def read_checkpoint(path: Path) -> State:
    """What a file holds, as plain tensors and values; nothing in it is run.

    Raises:
        RunError: it is missing or damaged, or holds more than that.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not look at the check sums
            if damaged := archive.testzip():
                raise RunError(f"{path}: damaged at {damaged}")
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise RunError(f"{path}: holds more than tensors and plain values, not read") from None
    except FileNotFoundError:
        raise RunError(f"{path}: is missing") from None
    except (OSError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: damaged ({_reason(error)})") from None
    return state


def _reason(error: BaseException) -> str:
    cause = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return text.splitlines()[0] if text else type(cause).__name__
