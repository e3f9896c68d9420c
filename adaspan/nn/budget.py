"""A budget in place of a price: the loss coefficient at which spans have a given mean length."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from adaspan.nn.checks import ContractError, check_above_zero
from adaspan.nn.span import AdaptiveSpan, Span

# Prices are in nats, for a span as long as the limit: where the multiplier becomes exponential, ...
_SCALE = 1e-3
# ... the most, because under Adagrad a large gradient shortens all later steps, ...
_MOST = 0.3
# ... and what an error of a twentieth or more costs at once.
_SPRING = 0.05
_LARGE_ERROR = 0.05
# A large error multiplies the price by e in so many updates.
_PATIENCE = 20


class SpanBudget:
    """Sets the loss coefficient of adaptive spans so that their mean over all heads is `target`.

    It is the multiplier of a constraint, found by a dual update after each update of the weights:

        e = clamp(20 (mean / target - 1), -1, 1)
        u = clamp(u + e / 20, -U, U)
        lambda = clamp(0.001 sinh(u) + 0.05 e, -0.3, 0.3) / S

    The magnitude of the multiplier is not known, so u is its logarithm, on both sides of 0: it is
    negative where the task alone would make spans shorter than the target. The term with e alone
    keeps spans from swinging about the target.

    Args:
        spans: of all layers.
        target: mean length, in tokens.

    Raises:
        ValueError: the target is not above 0.
        ContractError: a span is of another kind.
    """

    def __init__(self, spans: Sequence[Span], target: float) -> None:
        check_above_zero(target=target)
        self._spans = [span for span in spans if isinstance(span, AdaptiveSpan)]
        if len(self._spans) < len(spans):
            raise ContractError("budget: only adaptive spans can have one")
        self._target = target
        self._log_price = torch.zeros((), dtype=torch.float64)
        self._set(torch.zeros(()))

    @torch.no_grad()
    def update(self) -> None:
        """Set the coefficient by the spans as they are; after each update. Does not wait."""
        mean = torch.stack([span.current() for span in self._spans]).double().mean()
        error = ((mean / self._target - 1) / _LARGE_ERROR).clamp(-1, 1)
        most = math.asinh(_MOST / _SCALE)
        self._log_price = self._log_price.to(mean.device) + error / _PATIENCE
        self._log_price = self._log_price.clamp(-most, most)
        price = (_SCALE * self._log_price.sinh() + _SPRING * error).clamp(-_MOST, _MOST)
        self._set((price / self._spans[0].limit).float())

    @property
    def loss_coefficient(self) -> float:
        """Lambda now. Waits for the device."""
        return float(self._loss_coefficient)

    def state(self) -> dict[str, float]:
        """What a checkpoint holds."""
        return {"log_price": float(self._log_price), "loss_coefficient": self.loss_coefficient}

    def load(self, state: dict[str, float]) -> None:
        """Go on from a state."""
        self._log_price = torch.tensor(state["log_price"], dtype=torch.float64)
        self._set(torch.tensor(state["loss_coefficient"]))

    def _set(self, loss_coefficient: Tensor) -> None:
        self._loss_coefficient = loss_coefficient
        for span in self._spans:
            span.loss_coefficient = loss_coefficient
