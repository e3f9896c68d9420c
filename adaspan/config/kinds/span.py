"""How far back a head looks: `span=KIND`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from omegaconf import MISSING

from adaspan.config.checks import above_zero, at_least, one_of
from adaspan.config.keys import added_key
from adaspan.config.kinds.registry import register

if TYPE_CHECKING:  # a mistake is told without waiting for torch
    from adaspan.config.schema import ModelConfig, RunConfig
    from adaspan.nn.budget import SpanBudget
    from adaspan.nn.flops import Shape
    from adaspan.nn.span import Span


SHARES = ("head", "layer", "model")


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

    def notes_in(self, config: RunConfig) -> Iterator[str]:
        """What is allowed, but may not be what was meant; a line each, told as a run begins.

        Args:
            config: of the run.
        """
        yield from ()

    def in_model(self, model: ModelConfig) -> SpanConfig:
        """These settings with what depends on the model filled in, before anything is built.

        Args:
            model: of the run.
        """
        return self

    def connect(self, spans: Sequence[Span]) -> None:
        """Have layers share what they should, once the spans of all are built."""

    def budget(self, spans: Sequence[Span]) -> SpanBudget | None:
        """What sets the price of spans while a run is trained; None: nothing does.

        Args:
            spans: of all layers.
        """
        return None

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
    """Every head looks back `limit` tokens, or a number of its own."""

    # How far each head looks back: [16,64,256,1024], or such a list per layer; []: the limit.
    windows: list[Any] = added_key([])

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        for window in self._flat():
            if not isinstance(window, int) or isinstance(window, bool):
                yield f"span.windows={window}: must be whole numbers, or a list of them per layer"
            elif not 1 <= window <= self.limit:
                yield f"span.windows={window}: must be 1 to span.limit={self.limit}"

    def mistakes_in(self, config: RunConfig) -> Iterator[str]:
        heads, layers = config.model.heads, config.model.layers
        of_layers = self._per_layer()
        if of_layers and len(self.windows) != layers:
            yield f"span.windows: must have model.layers={layers} lists, has {len(self.windows)}"
        for windows in self.windows if of_layers else [self.windows] if self.windows else []:
            if not isinstance(windows, list) or len(windows) != heads:
                yield f"span.windows={windows}: must be model.heads={heads} numbers"

    def build(self, *, dim: int, heads: int, layer: int) -> Span:
        from adaspan.nn.span import FixedSpan

        windows = self.windows[layer] if self._per_layer() else self.windows
        return FixedSpan(heads, self.limit, windows)

    def _per_layer(self) -> bool:
        return any(isinstance(part, list) for part in self.windows)

    def _flat(self) -> list[Any]:
        parts = [part if isinstance(part, list) else [part] for part in self.windows]
        return [window for part in parts for window in part]


@register("span", "local_global")
@dataclass
class LocalGlobalSpanConfig(SpanConfig):
    """Layers that look back `window` tokens; the top one looks back `limit`, and one in so many."""

    window: int = MISSING  # of every head of a local layer
    local_layers: int = 5  # below each that looks back to the limit

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        yield from at_least("span.window", self.window, 1)
        yield from at_least("span.local_layers", self.local_layers, 1)
        if self.window > self.limit:
            yield f"span.window={self.window}: must be at most span.limit={self.limit}"

    def build(self, *, dim: int, heads: int, layer: int) -> Span:
        from adaspan.nn.span import FixedSpan

        return FixedSpan(heads, self.limit, [self.window] * heads)

    def connect(self, spans: Sequence[Span]) -> None:
        from adaspan.nn.span import FixedSpan

        for span in spans[:: -(self.local_layers + 1)]:  # the top one, too, however many there are
            assert isinstance(span, FixedSpan)
            span.windows = (self.limit,) * span.heads


def _never_paid(penalty_after: int, config: RunConfig) -> Iterator[str]:
    """A first stage without a penalty may be meant, for a longer run goes on from its end."""
    if penalty_after >= config.train.steps:
        yield (
            f"no penalty on spans within train.steps={config.train.steps}: "
            f"span.penalty_after={penalty_after}"
        )


@register("span", "adaptive")
@dataclass
class AdaptiveSpanConfig(SpanConfig):
    """Every head learns one span (paper, section 2.2)."""

    ramp: float = MISSING  # R: width of the soft edge, in tokens
    loss_coefficient: float = MISSING  # lambda: price of a token of mean span, a layer
    initial_fraction: float = 0.0  # where every span starts, as a part of the limit
    share: str = added_key("head")  # who has one span together: head, layer or model
    penalty_after: int = added_key(0)  # updates that are free of the penalty

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        yield from above_zero("span.ramp", self.ramp)
        yield from at_least("span.loss_coefficient", self.loss_coefficient, 0)
        if not 0 <= self.initial_fraction <= 1:
            yield f"span.initial_fraction={self.initial_fraction}: must lie between 0 and 1"
        yield from one_of("span.share", self.share, SHARES)
        yield from at_least("span.penalty_after", self.penalty_after, 0)

    def notes_in(self, config: RunConfig) -> Iterator[str]:
        yield from _never_paid(self.penalty_after, config)

    def build(self, *, dim: int, heads: int, layer: int) -> Span:
        from adaspan.nn.span import AdaptiveSpan

        return AdaptiveSpan(
            heads,
            self.limit,
            self.ramp,
            self.loss_coefficient,
            self.initial_fraction,
            shared=self.share != "head",
            penalty_after=self.penalty_after,
        )

    def connect(self, spans: Sequence[Span]) -> None:
        if self.share == "model":
            _share(spans)


@register("span", "budget")
@dataclass
class BudgetSpanConfig(SpanConfig):
    """Adaptive spans of a given mean length: the price that this takes is found in training."""

    target: float | None = None  # mean over all heads, in tokens
    ramp: float = MISSING  # R
    initial_fraction: float | None = None  # where every span starts; null: at the target
    share: str = "head"  # who has one span together: head, layer or model
    target_flops: float | None = added_key(None)  # or: FLOPs a token, two a multiply-add
    target_after: int = added_key(200)  # updates in which the mean goes from its start to there

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        if self.target is None and self.target_flops is None:
            yield "span.target: needs a value, in tokens; or give span.target_flops"
        if self.target is not None and self.target_flops is not None:
            yield (
                f"span.target={self.target:g} span.target_flops={self.target_flops:g}: "
                "only one of them can be kept to; leave one out"
            )
        if self.target is not None:
            yield from above_zero("span.target", self.target)
            if self.target > self.limit:
                yield f"span.target={self.target}: must be at most span.limit={self.limit}"
        if self.target_flops is not None:
            yield from above_zero("span.target_flops", self.target_flops)
        yield from above_zero("span.ramp", self.ramp)
        if self.initial_fraction is not None and not 0 <= self.initial_fraction <= 1:
            yield f"span.initial_fraction={self.initial_fraction}: must lie between 0 and 1"
        yield from one_of("span.share", self.share, SHARES)
        yield from at_least("span.target_after", self.target_after, 0)

    def mistakes_in(self, config: RunConfig) -> Iterator[str]:
        from adaspan.nn.flops import paper_macs_per_token

        if self.target_flops is not None:
            shape = _shape(config.model)
            least, most = (2 * paper_macs_per_token(shape, mean) for mean in (0, self.limit))
            if not least < self.target_flops <= most:
                yield (
                    f"span.target_flops={self.target_flops:g}: must be above {least:g}, what this "
                    f"model takes without spans, and at most {most:g}, with all at "
                    f"span.limit={self.limit}"
                )
        if self.initial_fraction is not None and self.target_after > config.train.steps:
            yield (
                f"span.target_after={self.target_after}: must be at most "
                f"train.steps={config.train.steps}, or the target is not reached"
            )

    def in_model(self, model: ModelConfig) -> SpanConfig:
        if self.target_flops is None:
            return self
        from adaspan.nn.flops import mean_span_at

        tokens = mean_span_at(_shape(model), self.target_flops / 2)
        return replace(self, target=tokens, target_flops=None)

    def build(self, *, dim: int, heads: int, layer: int) -> Span:
        from adaspan.nn.span import AdaptiveSpan

        start = self.initial_fraction
        start = self._tokens / self.limit if start is None else start
        return AdaptiveSpan(heads, self.limit, self.ramp, 0.0, start, shared=self.share != "head")

    def connect(self, spans: Sequence[Span]) -> None:
        if self.share == "model":
            _share(spans)

    def budget(self, spans: Sequence[Span]) -> SpanBudget:
        from adaspan.nn.budget import SpanBudget

        return SpanBudget(spans, self._tokens, self.target_after)

    @property
    def _tokens(self) -> float:
        """The target, once it is known."""
        assert self.target is not None
        return self.target


def _shape(model: ModelConfig) -> Shape:
    """What the paper's count of FLOPs depends on, which no vocabulary does."""
    from adaspan.nn.flops import Shape

    return Shape(model.layers, model.dim, model.heads, model.ffn_dim, 0, model.persistent)


def _share(spans: Sequence[Span]) -> None:
    """Give all layers the learned fraction of the first."""
    for span in spans[1:]:
        span.fraction = spans[0].fraction


@register("span", "dynamic")
@dataclass
class DynamicSpanConfig(SpanConfig):
    """Every head computes a span for each token (paper, section 2.2, "dynamic attention span")."""

    ramp: float = MISSING
    loss_coefficient: float = MISSING
    initial_bias: float = -4.0  # b in z = S * sigmoid(v.x + b); -3: about a twentieth of the limit
    penalty_after: int = added_key(0)  # updates that are free of the penalty

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        yield from above_zero("span.ramp", self.ramp)
        yield from at_least("span.loss_coefficient", self.loss_coefficient, 0)
        if not math.isfinite(self.initial_bias):
            yield f"span.initial_bias={self.initial_bias}: must be a finite number"
        yield from at_least("span.penalty_after", self.penalty_after, 0)

    def notes_in(self, config: RunConfig) -> Iterator[str]:
        yield from _never_paid(self.penalty_after, config)

    def build(self, *, dim: int, heads: int, layer: int) -> Span:
        from adaspan.nn.span import DynamicSpan

        return DynamicSpan(
            dim,
            heads,
            self.limit,
            self.ramp,
            self.loss_coefficient,
            self.initial_bias,
            penalty_after=self.penalty_after,
        )
