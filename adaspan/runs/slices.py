"""What equal slices of valid cost a run's best weights: how certain a score is that was had once.

Slices are cut alike for every run of a text, however it was read, so that runs can be compared
slice by slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adaspan.errors import RunError
from adaspan.files import read_json, write_json

# Neighbours are alike, so slices are long; more of them would say no more.
_MOST, _FEWEST_TOKENS = 100, 500


@dataclass(frozen=True)
class Slices:
    """Costs of all slices of a text.

    Args:
        length: tokens of the text.
        nats: of each slice, shape (S,).
    """

    length: int
    nats: NDArray[np.float64]

    @property
    def tokens(self) -> NDArray[np.float64]:
        """Of each slice, shape (S,)."""
        count = len(self.nats)
        ends = -(-np.arange(count + 1) * self.length // count)
        return np.diff(ends).astype(float)

    def write(self, path: Path) -> None:
        write_json(path, {"length": self.length, "nats": self.nats.tolist()})


def read_slices(path: Path) -> Slices | None:
    """The slices of a file; None if there is none, as of a run of an earlier version.

    Raises:
        RunError: it is damaged.
    """
    content = read_json(path)
    if not content:
        return None
    try:
        return Slices(int(content["length"]), np.array(content["nats"], dtype=float))
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{path}: damaged (no slices of a text)") from None


def count_of_slices(length: int) -> int:
    """Into how many slices a text is cut."""
    return max(1, min(_MOST, length // _FEWEST_TOKENS))


def slice_of(token: NDArray[np.int64], length: int, count: int) -> NDArray[np.int64]:
    """The slice of each token, by its place in the text."""
    return token * count // length
