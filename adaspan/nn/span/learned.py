"""What adaptive and dynamic spans share: a penalty on their mean length."""

from __future__ import annotations

import torch
from torch import Tensor

from adaspan.nn.checks import check_above_zero, check_at_least, check_counts
from adaspan.nn.span.base import Span

# The paper's, for limits up to 4096.
RAMP = 32.0
LOSS_COEFFICIENT = 2e-6


class LearnedSpan(Span):
    """A span that the loss pays for, by its mean length: what adaptive and dynamic spans share.

    Args:
        limit, ramp, dim, heads: as in `Span`.
        loss_coefficient: lambda, the price of one token of mean span.
        penalty_after: updates that are free of it; `note_updates` says how many there have been.

    Raises:
        ValueError: a value is out of its range.
    """

    updates: Tensor

    def __init__(
        self,
        limit: int,
        ramp: float,
        loss_coefficient: float,
        penalty_after: int = 0,
        *,
        dim: int | None = None,
        heads: int | None = None,
    ) -> None:
        check_above_zero(ramp=ramp)
        super().__init__(limit, ramp, dim=dim, heads=heads)
        check_at_least(0, loss_coefficient=loss_coefficient)
        check_counts(0, penalty_after=penalty_after)
        self.loss_coefficient: float | Tensor = loss_coefficient
        self.penalty_after = penalty_after
        if penalty_after:
            self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def penalty(self, span: Tensor | None) -> Tensor:
        """Lambda * S * mean(fraction), one layer's share of the loss (paper, equation 7)."""
        assert span is not None
        penalty = self.loss_coefficient * span.mean()
        return penalty * (self.updates >= self.penalty_after) if self.penalty_after else penalty

    def note_updates(self, count: int) -> None:
        if self.penalty_after:
            self.updates.fill_(count)
