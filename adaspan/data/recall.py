"""A stream in which what context is worth is known: symbols recur at given distances."""

from __future__ import annotations

import hashlib
import json
import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SYMBOLS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class RecallSource:
    """Each symbol repeats the one k back with a given probability, and else is drawn uniformly.

    To predict the next symbol, the token k - 1 back must be seen: the key at x = k - 2 in the soft
    mask, whose most recent key has x = 0. A head sees it if z + R > k - 2.

    Args:
        distances: every k, from 1 on.
        kept: the probability of each; together at most 1.
        alphabet: number of symbols, 2 to 62.
        length: of the stream, in symbols.
        seed: of all that is drawn.
    """

    distances: Sequence[int]
    kept: Sequence[float]
    alphabet: int
    length: int
    seed: int
    characters = True

    @property
    def name(self) -> str:
        return f"recall{'_'.join(map(str, self.distances))}"

    def key(self) -> str:
        values = [*self.distances, *self.kept, self.alphabet, self.length, self.seed]
        return hashlib.sha256(json.dumps(["recall", *values]).encode()).hexdigest()

    def read(self) -> bytes:
        # The raw stream of a bit generator is the same in every version of numpy; what its methods
        # draw from it need not be.
        draw = np.random.PCG64(self.seed).random_raw
        chosen = np.searchsorted(np.cumsum(self.kept), draw(self.length) / 2.0**64, side="right")
        noise = (draw(self.length) >> np.uint64(32)) * np.uint64(self.alphabet) >> np.uint64(32)
        here = np.arange(self.length)
        origin = here - np.array([*self.distances, 0])[chosen]
        origin = np.where(origin < 0, here, origin)
        while not np.array_equal(earlier := origin[origin], origin):  # the origin of the origin
            origin = earlier
        stream: bytes = np.frombuffer(SYMBOLS.encode(), np.uint8)[noise[origin]].tobytes()
        return stream


def entropy_nats(
    tokens: npt.NDArray[np.unsignedinteger],
    distances: Sequence[int],
    kept: Sequence[float],
    alphabet: int,
) -> float:
    """What the best possible predictor pays for a symbol of the text: the entropy of the stream,
    but for the chance of this one text and the first symbols, which have no history.

    Args:
        tokens: the text; at least one.
        distances: every k.
        kept: the probability of each.
        alphabet: number of symbols.

    Returns:
        The mean of -log p, in nats.
    """
    probability = np.full(len(tokens), (1 - math.fsum(kept)) / alphabet)
    for distance, share in zip(distances, kept, strict=True):
        probability[:distance] += share / alphabet
        probability[distance:] += share * (tokens[distance:] == tokens[:-distance])
    return float(-np.log(probability).mean())
