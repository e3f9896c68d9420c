"""A budget in place of a price: spans of a given mean length, and the loss coefficient for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from adaspan.nn.checks import ContractError, check_above_zero, check_counts
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
# As a part of the goal: how far off it the optimizer may lead the mean.
_TOLERANCE = 0.04


class SpanBudget:
    """Keeps adaptive spans at a mean length over all heads; which head gets how much is learned.

    The mean has a goal that goes in a straight line from where spans start to the target, in
    `after` updates, and stays there. The price that this takes, the multiplier of a constraint, is
    found by a dual update after each update of the weights:

        e = clamp(20 (mean / goal - 1), -1, 1)
        u = clamp(u + e / 20, -U, U)
        lambda = clamp(0.001 sinh(u) + 0.05 e, -0.3, 0.3) / S

    The magnitude of the multiplier is not known, so u is its logarithm, on both sides of 0: it is
    negative where the task alone would make spans shorter than the target. The term with e alone
    keeps spans from swinging about the goal.

    No price makes spans faster than the optimizer is: Adam moves a fraction by its learning rate at
    most, whatever the gradient. So where the mean is off its goal by more than 4 %, all spans are
    moved back together, each by as many tokens.

    Args:
        spans: of all layers.
        target: mean length, in tokens.
        after: updates in which the mean gets there.

    Raises:
        ValueError: the target is not above 0, or `after` not a whole number from 0 on.
        ContractError: a span is of another kind.
    """

    def __init__(self, spans: Sequence[Span], target: float, after: int = 200) -> None:
        check_above_zero(target=target)
        check_counts(0, after=after)
        self._spans = [span for span in spans if isinstance(span, AdaptiveSpan)]
        if len(self._spans) < len(spans):
            raise ContractError("budget: only adaptive spans can have one")
        self._target = target
        self._after = after
        # These stay where they are: captured work of a GPU reads and writes them there.
        self._start = self._mean()
        self._updates = torch.zeros_like(self._start)
        self._log_price = torch.zeros_like(self._start)
        self._loss_coefficient = torch.zeros_like(self._start, dtype=torch.float32)
        for span in self._spans:
            span.loss_coefficient = self._loss_coefficient

    @torch.no_grad()
    def update(self) -> None:
        """Set the coefficient by the spans as they are, and move them if they are far off; after
        each update. Does not wait.
        """
        self._updates += 1
        to_go = (1 - self._updates / self._after).clamp(min=0) if self._after else 0.0
        mean = self._mean()
        goal = self._target + (self._start - self._target) * to_go
        error = ((mean / goal - 1) / _LARGE_ERROR).clamp(-1, 1)
        most = math.asinh(_MOST / _SCALE)
        self._log_price += error / _PATIENCE
        self._log_price.clamp_(-most, most)
        price = (_SCALE * self._log_price.sinh() + _SPRING * error).clamp(-_MOST, _MOST)
        self._loss_coefficient.copy_(price / self._spans[0].limit)
        self._keep_within((1 - _TOLERANCE) * goal, (1 + _TOLERANCE) * goal)

    @property
    def kept_from(self) -> int:
        """The first update after which spans keep to the target. Waits for the device."""
        starts_there = abs(float(self._start) / self._target - 1) <= _TOLERANCE
        return 0 if starts_there else self._after

    @property
    def loss_coefficient(self) -> float:
        """Lambda now. Waits for the device."""
        return float(self._loss_coefficient)

    def state(self) -> dict[str, float]:
        """What a checkpoint holds."""
        return {
            "log_price": float(self._log_price),
            "loss_coefficient": self.loss_coefficient,
            "updates": int(self._updates),
            "start": float(self._start),
        }

    def load(self, state: dict[str, float]) -> None:
        """Go on from a state; one of before there was a goal has only its price."""
        self._log_price.fill_(state["log_price"])
        self._loss_coefficient.fill_(state["loss_coefficient"])
        self._updates.fill_(int(state.get("updates", self._after)))
        self._start.fill_(state.get("start", self._target))

    @torch.no_grad()
    def _mean(self) -> Tensor:
        """In tokens, over all heads."""
        return torch.stack([span.current() for span in self._spans]).double().mean()

    def _keep_within(self, least: Tensor, most: Tensor) -> None:
        """Move all spans that are not at an end by the same, so that their mean is in this range.
        A span that comes to an end leaves its rest to the others, which are moved once more.
        """
        fractions = {id(span.fraction): span.fraction.detach() for span in self._spans}.values()
        for _ in range(2):
            mean = self._mean()
            missing = (mean.clamp(least, most) - mean) / self._spans[0].limit
            all_F = torch.cat(list(fractions))
            movable = torch.where(missing < 0, all_F > 0, all_F < 1).sum().clamp(min=1)
            step = (missing * all_F.numel() / movable).float()
            for fraction in fractions:
                fraction.add_(step).clamp_(0, 1)
