"""How far back a head looks, and how that is learned (paper, section 2.2). Nothing more.

A span z is counted in tokens; `limit` is S, `ramp` is R.

Under the names of the public code: its `AdaptiveMask` (template, `current_val`, ramp, crop to
shorter inputs) is `soft_mask` here, with `AdaptiveSpan.fraction` as the current value; its
`AdaptiveSpan` keeps its name: `forward` gives the spans that mask and renormalise a head's
attention, `penalty` is the L1 loss, `clamp_` is `clamp_param`, `reach` says how much memory can be
trimmed, and `cache_length` how long the cache must be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from adaspan.nn.checks import (
    ContractError,
    Shapes,
    check_above_zero,
    check_at_least,
    check_broadcast,
    check_counts,
    check_finite,
    check_fraction,
)

# The paper's, for limits up to 4096.
RAMP = 32.0
LOSS_COEFFICIENT = 2e-6
# As a part of the limit: how far out of it rounding may lead a span.
ROUNDING = 1e-4
_MISSING = "{}.forward: is missing; it must give the spans of the heads"
# A cache is kept this much longer than today's spans reach, so that spans have room to grow, and
# its length is rounded up to a multiple, so that it seldom changes.
_CACHE_BUFFER = 64


def soft_mask(distance: Tensor, span: Tensor, ramp: float) -> Tensor:
    """How much of a key at `distance` a head with `span` sees: m_z(x) = clamp((R + z - x)/R, 0, 1).

    Args:
        distance: x in tokens; the most recent key has x = 0. Any shape, cropped as one likes.
        span: z in tokens, broadcastable against `distance`.
        ramp: R > 0, width of the soft edge, in tokens.

    Returns:
        Mask in [0, 1], float32 or wider: 1 up to x = z, 0 from x = z + R on (equation 5; x is
        distance - 1, as in the public code). At both kinks the gradient passes.

    Raises:
        ValueError: the ramp is not above 0, or distance and span are no tensors whose shapes fit.
    """
    for name, value in (("distance", distance), ("span", span)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name}={value!r}: must be a tensor")
    check_above_zero(ramp=ramp)
    try:
        return ((ramp + _at_least_float32(span) - distance) / ramp).clamp(0, 1)
    except RuntimeError:
        check_broadcast(distance=distance, span=span)
        raise


class Span(nn.Module):
    """How far back the heads of one layer look: the base of every kind of span.

    A kind of one's own needs `forward`. It may leave the rest as it is here: a span without a
    penalty that is not known before a text is read, so that attention looks at what `forward` gave
    for a block to know how far to compute it, and hidden states are kept up to the limit.

    Args:
        limit: S, the longest span, in tokens.
        ramp: R, in tokens; None: no mask, a hard edge at `current`, or at the limit without it.
        dim: D of the layer, where the span fits no other.
        heads: H of the layer, likewise.

    Raises:
        ValueError: a limit or a size below 1, or a ramp that is not above 0.
    """

    def __init__(
        self, limit: int, ramp: float | None, *, dim: int | None = None, heads: int | None = None
    ) -> None:
        super().__init__()
        check_counts(limit=limit)
        if ramp is not None:
            check_above_zero(ramp=ramp)
        self.limit = limit
        self.ramp = ramp
        sizes = {"dim": dim, "heads": heads}
        self._sizes = {name: size for name, size in sizes.items() if size is not None}
        check_counts(**self._sizes)

    def check_layer(self, dim: int, heads: int) -> None:
        """Refuse a layer of another width or number of heads than the span was made for.

        Raises:
            ContractError: names both sizes; or the span lacks `forward`.
        """
        kind = type(self)
        if kind.forward is Span.forward:
            raise ContractError(_MISSING.format(kind.__name__))
        for name, size in {"dim": dim, "heads": heads}.items():
            own = self._sizes.get(name, size)
            if own != size:
                raise ContractError(f"{kind.__name__}: {name}={own}: must be the layer's {size}")

    def forward(self, hidden_BMD: Tensor) -> Tensor | None:
        """Spans z in tokens, from the layer's input: what the attention mask is made of.

        Returns:
            (H, 1), or (B, H, M) if each token has its own; float32 or float64. None: no mask.
        """
        raise NotImplementedError(_MISSING.format(type(self).__name__))

    def penalty(self, span: Tensor | None) -> Tensor | float:
        """What the training loss pays for `span`, the value of `forward`."""
        return 0.0

    def current(self) -> Tensor | None:
        """Every head's span now, shape (H,), detached: keys beyond it are not computed.

        None if it is not known before a text is read.
        """
        return None

    def clamp_(self) -> None:
        """Put the parameters back into their range; call after each update."""

    def macs_per_token(self) -> int:
        """Multiply-accumulates of the products in `forward`, for each token."""
        return 0

    def extra_repr(self) -> str:
        return f"limit={self.limit}, ramp={self.ramp}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Keep parameters float32 where a model becomes bfloat16, as by `model.bfloat16()`.

        In bfloat16 a step at 0.5 of S = 8192 is 32 tokens: most updates would change nothing.
        """

        def wide(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            narrowed = moved.is_floating_point() and moved.dtype.itemsize < tensor.dtype.itemsize
            return tensor.to(moved.device, torch.float32) if narrowed else moved

        super()._apply(wide, recurse)  # type: ignore[no-untyped-call]
        return self


def check_is_span(span: object) -> None:
    """Refuse what is no span."""
    if not isinstance(span, Span):
        raise ValueError(f"span={span!r}: must be a span, such as DynamicSpan(dim, heads, limit)")


class FixedSpan(Span):
    """Every head looks back exactly `limit` tokens, at no penalty: the paper's baseline.

    Args:
        heads: H.
        limit: S, in tokens.
        windows: how many tokens each head looks back; None: all of them the limit.

    Raises:
        ValueError: windows that are not one per head, or not 1 to the limit.
    """

    def __init__(self, heads: int, limit: int, windows: Sequence[int] | None = None) -> None:
        super().__init__(limit, ramp=None, heads=heads)
        self.heads = heads
        self.windows = tuple(windows) if windows else (limit,) * heads
        if len(self.windows) != heads:
            raise ValueError(f"windows={list(self.windows)}: must be {heads}, one per head")
        for window in self.windows:
            check_counts(window=window)
            if window > limit:
                raise ValueError(f"window={window}: must be at most limit={limit}")

    def forward(self, hidden_BMD: Tensor) -> None:
        return None

    def current(self) -> Tensor:
        return torch.tensor(self.windows, dtype=torch.float32)


class LearnedSpan(Span):
    """A span that the loss pays for, by its mean length: what adaptive and dynamic spans share.

    Args:
        limit, ramp, dim, heads: as in `Span`.
        loss_coefficient: lambda, the price of one token of mean span.
        penalty_after: updates that are free of it; `clamp_` counts them.

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

    @torch.no_grad()
    def clamp_(self) -> None:
        if self.penalty_after:
            self.updates += 1


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
        z_H = (self.limit * _at_least_float32(self.fraction)).expand(self.heads)
        return z_H.unsqueeze(-1)

    @torch.no_grad()
    def clamp_(self) -> None:
        super().clamp_()
        self.fraction.clamp_(0, 1)

    def current(self) -> Tensor:
        return (self.limit * _at_least_float32(self.fraction.detach())).expand(self.heads)


class DynamicSpan(LearnedSpan):
    """A span per head and token: z_t = S * sigmoid(v.x_t + b) (paper, section 2.2).

    Args:
        dim: D, width of the hidden states x_t.
        heads, limit, ramp, loss_coefficient: as in `AdaptiveSpan`.
        initial_bias: b at the start, log(f / (1 - f)) for spans near f S; -4 is 0.018 S.
        penalty_after: updates that are free of the penalty.

    Raises:
        ValueError: a value is out of its range.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        limit: int,
        ramp: float = RAMP,
        loss_coefficient: float = LOSS_COEFFICIENT,
        initial_bias: float = -4.0,
        *,
        penalty_after: int = 0,
    ) -> None:
        super().__init__(limit, ramp, loss_coefficient, penalty_after, dim=dim, heads=heads)
        check_finite(initial_bias=initial_bias)
        self.gate = nn.Linear(dim, heads)
        nn.init.constant_(self.gate.bias, initial_bias)

    def forward(self, hidden_BMD: Tensor) -> Tensor:
        Shapes(D=self.gate.in_features).check("span's input", hidden_BMD, "BMD")
        with torch.autocast(hidden_BMD.device.type, enabled=False):  # spans stay float32
            gate_BMH = torch.sigmoid(self.gate(hidden_BMD.to(self.gate.weight.dtype)))
        return self.limit * _at_least_float32(gate_BMH).transpose(1, 2)

    def macs_per_token(self) -> int:
        return self.gate.weight.numel()


def _at_least_float32(tensor: Tensor) -> Tensor:
    """Also where a whole model was turned into bfloat16."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def within(span: float, limit: int) -> float:
    """A span put back into [0, S], where rounding alone has led out of it.

    Raises:
        ValueError: it is farther out.
    """
    if not -ROUNDING * limit <= span <= limit + ROUNDING * limit:
        raise ValueError(
            f"span={span:g}: must be 0 to {limit}; call clamp_spans_() after each update, which "
            "calls the span's clamp_()"
        )
    return min(max(span, 0.0), limit)


def reach(longest: float, limit: int, ramp: float) -> int:
    """Past keys that a span of `longest` tokens can see: x = 0 ... floor(z + R), S at the most.

    Raises:
        ValueError: the span is not within 0 and S.
    """
    if not math.isfinite(longest):  # the run has diverged, which its loss is about to say
        return limit
    return min(limit, math.floor(within(longest, limit) + ramp) + 1)


def cache_length(reach: int, limit: int) -> int:
    """Past hidden states worth keeping for a layer of this reach: some buffer, S at the most."""
    return min(limit, math.ceil(reach / _CACHE_BUFFER + 1) * _CACHE_BUFFER)
