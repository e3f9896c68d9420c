"""How well a text is predicted, in the unit of its tokens; never one under another's name.

| tokens | measure | of a loss in nats |
|---|---|---|
| bytes | bpb, bits per byte | nats / ln 2 |
| characters | bpc, bits per character | nats / ln 2 |
| words | ppl, perplexity | exp(nats) |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

# Of a loss that is lost: a perplexity beyond it would be no finite number.
_MOST_NATS = 700.0


@dataclass(frozen=True)
class Measure:
    """What a score is told in; less is better.

    Args:
        name: in keys of rows, and after numbers.
        meaning: in words.
        of_nats: from the mean loss of a token.
        per_nat: by how much a score changes with that loss, which is as good as linear between
            scores that are close.
        decimals: that a person reads.
        margin: by which a score may be worse and still count as close.
    """

    name: str
    meaning: str
    of_nats: Callable[[float], float]
    per_nat: Callable[[float], float]
    decimals: int
    margin: float

    def written(self, value: float) -> str:
        """The number alone: 1.024."""
        return f"{value:.{self.decimals}f}" if value < 1e6 else f"{value:.2e}"

    @property
    def hover(self) -> str:
        """How plotly writes it."""
        return f".{self.decimals}f"


def bits(nats: float) -> float:
    return nats / math.log(2)


def perplexity(nats: float) -> float:
    return math.exp(min(nats, _MOST_NATS))


def _of_bits(score: float) -> float:
    """The derivative of `bits`, whatever the score."""
    return bits(1.0)


def _of_perplexity(score: float) -> float:
    """The derivative of `perplexity`, which is the score."""
    return score


BPB = Measure("bpb", "bits per byte", bits, _of_bits, decimals=3, margin=0.02)
BPC = Measure("bpc", "bits per character", bits, _of_bits, decimals=3, margin=0.02)
PPL = Measure("ppl", "perplexity", perplexity, _of_perplexity, decimals=2, margin=0.2)

MEASURES = (BPB, BPC, PPL)
# By what a vocabulary's tokens are.
OF_UNIT = {"bytes": BPB, "characters": BPC, "words": PPL}
