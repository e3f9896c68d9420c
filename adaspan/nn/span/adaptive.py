"""A learned span for each head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adaspan.nn.checks import check_fraction
from adaspan.nn.span.learned import LOSS_COEFFICIENT, RAMP, LearnedSpan
from adaspan.nn.span.mask import at_least_float32


class AdaptiveSpan(LearnedSpan):
    """One learned span per head: z = S * fraction, fraction in [0, 1] (paper, equations 5 to 7).

    Args:
        heads: H.
        limit: S, the longest span, in tokens.
        ramp: R, in tokens.
        loss_coefficient: lambda, the price of one token of mean span.
        initial_fraction: where every head starts, as a part of the limit.
        shared: all heads have the same one.
        penalty_after: updates that are free of the penalty.

    Raises:
        ValueError: a value is out of its range.
    """

    def __init__(
        self,
        heads: int,
        limit: int,
        ramp: float = RAMP,
        loss_coefficient: float = LOSS_COEFFICIENT,
        initial_fraction: float = 0.0,
        *,
        shared: bool = False,
        penalty_after: int = 0,
    ) -> None:
        super().__init__(limit, ramp, loss_coefficient, penalty_after, heads=heads)
        check_fraction(initial_fraction=initial_fraction)
        self.heads = heads
        fraction = torch.full((1 if shared else heads,), initial_fraction, dtype=torch.float32)
        self.fraction = nn.Parameter(fraction)

    def forward(self, hidden_BMD: Tensor) -> Tensor:
        z_H = (self.limit * at_least_float32(self.fraction)).expand(self.heads)
        return z_H.unsqueeze(-1)

    @torch.no_grad()
    def penalty_gradient(self) -> Tensor:
        """What this layer's `penalty` adds to the gradient of `fraction`: lambda * S / H a head."""
        of_a_head = torch.full_like(self.fraction, self.limit / self.fraction.numel())
        return self.penalty(of_a_head).expand_as(self.fraction)

    @torch.no_grad()
    def clamp_(self) -> None:
        self.fraction.clamp_(0, 1)

    def current(self) -> Tensor:
        return (self.limit * at_least_float32(self.fraction.detach())).expand(self.heads)
