"""How well a model predicts a text, in nats: every token counts once, whatever the batch size.

A text is read in pieces side by side. Each piece but the first begins early enough for its caches
to hold all that the model would have seen in one long reading, and counts only its own tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adaspan.config.schema import TrainConfig
from adaspan.data import Tokens
from adaspan.nn.cache import KeyValueCache
from adaspan.nn.transformer import Transformer
from adaspan.runs.slices import slice_of
from adaspan.train.device import to_device

_QUICK_PIECES = 8
_LEAST_BATCH = 32


@dataclass(frozen=True)
class Score:
    """Total cost of `tokens` tokens, and of those among them that were to be told apart."""

    nats: float
    tokens: int
    nats_apart: float = 0.0

    @property
    def nats_per_token(self) -> float:
        return self.nats / self.tokens


@dataclass(frozen=True)
class Piece:
    """Tokens `first` to `end` are counted; reading begins at `start`, at or before `first`."""

    start: int
    first: int
    end: int


def pieces_side_by_side(train: TrainConfig) -> int:
    """How many are read at once: as many as in training, or more, for it needs less memory."""
    return max(_LEAST_BATCH, train.batch_size // train.micro_batches)


def whole_text(length: int, receptive_field: int, batch_size: int) -> list[Piece]:
    """Pieces that together count every token of a text once.

    Args:
        length: tokens of the text.
        receptive_field: past tokens that a prediction depends on, `model.receptive_field()`.
        batch_size: at most so many pieces; fewer where re-reading them would cost more than a
            quarter of the text.
    """
    pieces = max(1, min(batch_size, length // (4 * receptive_field + 1)))
    bounds = [length * i // pieces for i in range(pieces + 1)]
    return [
        Piece(max(0, first - receptive_field - 1), first, end) for first, end in pairwise(bounds)
    ]


def sample(length: int, fraction: float, context: int) -> list[Piece]:
    """The same few places of a text every time, for a quick evaluation.

    Args:
        length: tokens of the text.
        fraction: part of it that is counted.
        context: tokens that are read before each place.
    """
    bounds = [length * i // _QUICK_PIECES for i in range(_QUICK_PIECES)]
    size = max(1, int(fraction * length / _QUICK_PIECES))
    return [
        Piece(max(0, first - context - 1), first, min(first + size, length)) for first in bounds
    ]


def blocks(pieces: Sequence[Piece], batch_size: int, block_size: int) -> int:
    """How many blocks `evaluate` reads."""
    groups = (pieces[i : i + batch_size] for i in range(0, len(pieces), batch_size))
    return sum(len(_offsets(group, block_size)) for group in groups)


def evaluate(
    model: Transformer,
    tokens: Tokens,
    pieces: Sequence[Piece],
    *,
    batch_size: int,
    block_size: int,
    device: torch.device,
    after_block: Callable[[], None] = lambda: None,
    keep_keys: bool = False,
    apart: npt.NDArray[np.bool_] | None = None,
    slices_S: Tensor | None = None,
) -> Score:
    """Cost of the counted tokens of `pieces` under `model`, in evaluation mode and without grad.

    Token t is predicted from the tokens before it. The very first token of the text has none: it
    costs log V, as if drawn from the vocabulary at random.

    Args:
        model: left in the mode in which it was.
        tokens: the text.
        pieces: see `whole_text` and `sample`.
        batch_size: pieces that are read side by side.
        block_size: tokens a piece and step; changes nothing but speed.
        device: of the model.
        after_block: called after each of the `blocks`, to break off by raising.
        keep_keys: compute keys and values once instead of for every block that sees them. The
            last bits differ: a run's own figures are always had without.
        apart: of each token of the text, whether its cost is told apart, too; None: of none.
        slices_S: costs of equal slices of the text, float64, to which those of the counted tokens
            are added.
    """
    was_training = model.training
    model.eval()
    nats, nats_apart, count = 0.0, 0.0, 0
    if apart is None:
        apart = np.zeros(len(tokens), bool)
    try:
        for i in range(0, len(pieces), batch_size):
            group = pieces[i : i + batch_size]
            cost = _cost(
                model, tokens, apart, group, block_size, device, after_block, keep_keys, slices_S
            )
            nats, nats_apart = nats + cost[0], nats_apart + cost[1]
            count += sum(piece.end - piece.first for piece in group)
    finally:
        model.train(was_training)
    return Score(nats, count, nats_apart)


@torch.inference_mode()
def _cost(
    model: Transformer,
    tokens: Tokens,
    is_apart: npt.NDArray[np.bool_],
    pieces: Sequence[Piece],
    block_size: int,
    device: torch.device,
    after_block: Callable[[], None],
    keep_keys: bool,
    slices_S: Tensor | None,
) -> tuple[float, float]:
    """In nats: of the counted tokens, and of those among them that are told apart."""
    start = np.array([piece.start for piece in pieces])[:, None]
    first = np.array([piece.first for piece in pieces])[:, None]
    end = np.array([piece.end for piece in pieces])[:, None]
    total, apart = torch.zeros(2, dtype=torch.float64, device=device)
    if pieces[0].first == 0:
        total += math.log(model.vocabulary_size)
        apart += math.log(model.vocabulary_size) * bool(is_apart[0])
        if slices_S is not None:
            slices_S[0] += math.log(model.vocabulary_size)
    plan = model.plan(len(pieces), block_size)
    caches: Sequence[Tensor] | Sequence[KeyValueCache] = model.empty_caches(len(pieces))
    if keep_keys:
        caches = model.key_value_caches(len(pieces), block_size)
    for offset in _offsets(pieces, block_size):
        where = start + offset + np.arange(block_size + 1)
        # A piece that has ended reads on, uncounted, until the longest ends.
        there = where.clip(max=len(tokens) - 1)
        block = to_device(torch.from_numpy(tokens[there].astype(np.int64)), device)
        is_counted = (where[:, 1:] >= first) & (where[:, 1:] < end)
        counted = to_device(torch.from_numpy(is_counted), device)
        counted_apart = is_counted & is_apart[there[:, 1:]]
        output = model(block[:, :-1], caches, plan, block[:, 1:])
        caches = caches if keep_keys else output.caches
        nats_BM = output.nats_BM.double()
        of_counted_BM = nats_BM.masked_fill(~counted, 0)
        total += of_counted_BM.sum()
        if counted_apart.any():
            apart += nats_BM[to_device(torch.from_numpy(counted_apart), device)].sum()
        if slices_S is not None:
            index = torch.from_numpy(slice_of(there[:, 1:], len(tokens), len(slices_S)))
            slices_S.index_add_(0, to_device(index, device).flatten(), of_counted_BM.flatten())
        after_block()
    return float(total), float(apart)


def _offsets(pieces: Sequence[Piece], block_size: int) -> range:
    """Where the blocks begin, counted from the start of each piece."""
    return range(0, max(piece.end - piece.start for piece in pieces) - 1, block_size)
