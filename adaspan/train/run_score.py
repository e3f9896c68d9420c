"""How good the weights of a run are, computed by all its processes together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch

from adaspan.config.schema import RunConfig
from adaspan.data import Tokens
from adaspan.runs.slices import Slices, count_of_slices
from adaspan.train.device import autocast
from adaspan.train.distributed import Processes
from adaspan.train.evaluate import (
    Piece,
    Score,
    blocks,
    evaluate,
    pieces_side_by_side,
    sample,
    whole_text,
)
from adaspan.train.trainer import Trainer


class RunScorer:
    """Scores the weights that a trainer has, in the measure of its data. All processes must call
    its methods.

    Args:
        config: of the run.
        trainer: has the weights.
        device: where it computes.
        processes: share the work.
    """

    def __init__(
        self, config: RunConfig, trainer: Trainer, device: torch.device, processes: Processes
    ) -> None:
        self._config = config
        self._trainer = trainer
        self._device = device
        self._processes = processes
        self._batch_size = pieces_side_by_side(config.train)

    def quick(self, valid: Tokens) -> float:
        """The score at the same few places of a text every time.

        Raises:
            NonFiniteError: it is not finite.
        """
        context = min(self._config.span.limit, self._trainer.model.receptive_field())
        pieces = sample(len(valid), self._config.train.eval_fraction, context)
        nats = self._nats(valid, pieces, lambda _: None)
        if not math.isfinite(nats):
            self._trainer.fail(f"the loss on valid is {nats}")
        return self._trainer.measure.of_nats(nats)

    def whole(self, tokens: Tokens, after_block: Callable[[float], None]) -> tuple[float, Slices]:
        """The score of a whole text, and what its slices cost; all processes call `after_block`
        equally often, with the share of the text that has been read.
        """
        receptive_field = self._trainer.model.receptive_field()
        pieces = whole_text(len(tokens), receptive_field, self._batch_size)
        count = count_of_slices(len(tokens))
        slices_S = torch.zeros(count, dtype=torch.float64, device=self._device)
        nats = self._nats(tokens, pieces, after_block, slices_S)
        slices = Slices(len(tokens), self._processes.sum(slices_S).numpy())
        return self._trainer.measure.of_nats(nats), slices

    def _nats(
        self,
        tokens: Tokens,
        pieces: list[Piece],
        after_block: Callable[[float], None],
        slices_S: torch.Tensor | None = None,
    ) -> float:
        """Mean cost of a token; the sums of its slices are added to `slices_S`."""
        own = pieces[self._processes.rank :: self._processes.world_size]
        batch_size, block_size = self._batch_size, self._config.train.block_size
        count = blocks(own, batch_size, block_size)
        most = self._processes.all_reduce_max(count)
        blocks_read = itertools.count(1)

        def after() -> None:
            after_block(next(blocks_read) / most)

        with autocast(self._device, self._trainer.precision):
            score = evaluate(
                self._trainer.model,
                tokens,
                own,
                batch_size=batch_size,
                block_size=block_size,
                device=self._device,
                after_block=after,
                slices_S=slices_S,
            )
        for _ in range(most - count):  # others have more
            after()
        own_score = torch.tensor([score.nats, score.tokens], dtype=torch.float64)
        nats, read = self._processes.sum(own_score)
        return Score(nats.item(), int(read)).nats_per_token
