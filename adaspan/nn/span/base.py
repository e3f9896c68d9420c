"""The base of every kind of span."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from adaspan.nn.checks import ContractError, check_above_zero, check_counts

_MISSING = "{}.forward: is missing; it must give the spans of the heads"


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

    def note_updates(self, count: int) -> None:
        """Hear how many updates there have been, for what begins after some of them."""

    @property
    def clamps(self) -> bool:
        """Whether the kind has a `clamp_` of its own."""
        return type(self).clamp_ is not Span.clamp_

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
