"""How far back a head looks: `span=KIND`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from omegaconf import MISSING

from adaspan.config.checks import above_zero, at_least
from adaspan.config.kinds.registry import register

if TYPE_CHECKING:  # a mistake is told without waiting for torch
    from adaspan.config.schema import RunConfig
    from adaspan.nn.span import Span


@dataclass
class SpanConfig:
    """How far back a head looks."""

    group: ClassVar[str] = "span"
    kind: str = field(default=MISSING, init=False)  # the name that it is registered under
    limit: int = MISSING  # S: the longest span, in tokens

    def mistakes(self) -> Iterator[str]:
        """What is wrong with the values, each as `key=value: what is allowed`."""
        yield from at_least("span.limit", self.limit, 1)

    def mistakes_in(self, config: RunConfig) -> Iterator[str]:
        """Mistakes that involve other groups; asked once every value is valid on its own.

        Args:
            config: of the run.
        """
        yield from ()

    def build(self, *, dim: int, heads: int, layer: int) -> Span:
        """The span of one layer, freshly initialised.

        Args:
            dim: D, width of the hidden states.
            heads: H.
            layer: which one, from 0 on; 0 is the lowest.
        """
        raise NotImplementedError


@register("span", "fixed")
@dataclass
class FixedSpanConfig(SpanConfig):
    """Every head looks back `limit` tokens."""

    def build(self, *, dim: int, heads: int, layer: int) -> Span:
        from adaspan.nn.span import FixedSpan

        return FixedSpan(heads, self.limit)


@register("span", "adaptive")
@dataclass
class AdaptiveSpanConfig(SpanConfig):
    """Every head learns one span (paper, section 2.2)."""

    ramp: float = MISSING  # R: width of the soft edge, in tokens
    loss_coefficient: float = MISSING  # lambda: price of a token of mean span, a layer
    initial_fraction: float = 0.0  # where every span starts, as a part of the limit

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        yield from above_zero("span.ramp", self.ramp)
        yield from at_least("span.loss_coefficient", self.loss_coefficient, 0)
        if not 0 <= self.initial_fraction <= 1:
            yield f"span.initial_fraction={self.initial_fraction}: must lie between 0 and 1"

    def build(self, *, dim: int, heads: int, layer: int) -> Span:
        from adaspan.nn.span import AdaptiveSpan

        return AdaptiveSpan(
            heads, self.limit, self.ramp, self.loss_coefficient, self.initial_fraction
        )


@register("span", "dynamic")
@dataclass
class DynamicSpanConfig(SpanConfig):
    """Every head computes a span for each token (paper, section 2.2, "dynamic attention span")."""

    ramp: float = MISSING
    loss_coefficient: float = MISSING
    initial_bias: float = -4.0  # b in z = S * sigmoid(v.x + b)

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        yield from above_zero("span.ramp", self.ramp)
        yield from at_least("span.loss_coefficient", self.loss_coefficient, 0)
        if not math.isfinite(self.initial_bias):
            yield f"span.initial_bias={self.initial_bias}: must be a finite number"

    def build(self, *, dim: int, heads: int, layer: int) -> Span:
        from adaspan.nn.span import DynamicSpan

        return DynamicSpan(
            dim, heads, self.limit, self.ramp, self.loss_coefficient, self.initial_bias
        )
