"""Adaptive-span self-attention for a model of one's own, complete in one layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adaspan.nn.checks import Shapes, check_counts
from adaspan.nn.layers import MultiHeadAttention, next_cache
from adaspan.nn.span import LOSS_COEFFICIENT, RAMP, AdaptiveSpan, Span, cache_length


class AdaptiveSelfAttention(nn.Module):
    """Causal self-attention whose heads learn how far back to look, and cost no more than that.

        attention = AdaptiveSelfAttention(dim=256, heads=4, limit=1024)
        y, cache = attention(x)                # the first block of each stream
        y, cache = attention(x, cache)         # the next ones
        loss = task_loss + attention.penalty()
        loss.backward(); optimizer.step(); attention.clamp_spans_()

    A token attends to those before it, not to itself: add the layer's input to its output, as
    transformers do. The layer has position embeddings of its own.

    Args:
        dim: D, width of the hidden states; must be divisible by heads.
        heads: H.
        limit: S, the longest span, in tokens.
        ramp: R, width of the soft edge of a span, in tokens.
        loss_coefficient: lambda, the price of one token of mean span.
        span: a `DynamicSpan`, `FixedSpan` or `Span` of one's own in place of an `AdaptiveSpan`. It
            has its own ramp and loss coefficient, and the limit of the layer.
        dropout: on the attention weights.
        implementation: see `adaspan.nn.attention.attend`.

    Raises:
        ValueError: a value is out of its range, or the span does not fit.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        limit: int,
        *,
        ramp: float = RAMP,
        loss_coefficient: float = LOSS_COEFFICIENT,
        span: Span | None = None,
        dropout: float = 0.0,
        implementation: str = "auto",
    ) -> None:
        super().__init__()
        if span is None:
            span = AdaptiveSpan(heads, limit, ramp, loss_coefficient)
        elif span.limit != limit:
            raise ValueError(f"limit={limit}: must be that of the span, {span.limit}")
        elif (ramp, loss_coefficient) != (RAMP, LOSS_COEFFICIENT):
            raise ValueError("ramp, loss_coefficient: must be given to the span, not to the layer")
        self.attention = MultiHeadAttention(dim, heads, span, dropout, implementation)
        self.position_SK = nn.Parameter(torch.randn(limit, dim // heads))
        self._penalty: Tensor | None = None  # of the last block

    def forward(self, hidden_BMD: Tensor, cache_BCD: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attend from the next block of B streams to what came before. Waits for the device once.

        Args:
            hidden_BMD: hidden states of the block.
            cache_BCD: what the call for the block before returned; None at the start of a stream.

        Returns:
            The attended hidden states (B, M, D), and the cache for the next block: past hidden
            states, detached, as many as the spans need.

        Raises:
            ValueError: a shape does not fit.
        """
        shapes = Shapes(D=self.attention.dim)
        shapes.check("hidden states", hidden_BMD, "BMD")
        if cache_BCD is None:
            cache_BCD = hidden_BMD[:, :0].detach()
        shapes.check("cache", cache_BCD, "BCD")
        batch, block, _ = hidden_BMD.shape
        check_counts(block=block)
        spans = self.current_spans()
        groups = self.attention.groups(None if spans is None else spans.tolist(), batch, block)
        window = groups[0].window
        output_BMD, span = self.attention(hidden_BMD, cache_BCD, self.position_SK[:window], groups)
        penalty = self.attention.span.penalty(span)
        self._penalty = torch.zeros((), device=hidden_BMD.device) + penalty
        length = cache_length(window, self.attention.span.limit)
        return output_BMD, next_cache(cache_BCD, hidden_BMD, length)

    def penalty(self) -> Tensor:
        """The span loss of the last block that was read, one number, for the training loss.

        Raises:
            RuntimeError: none was read yet.
        """
        if self._penalty is None:
            raise RuntimeError("penalty: is that of a block; call the layer first")
        return self._penalty

    def current_spans(self) -> Tensor | None:
        """Every head's span now, (H,), in tokens; None if they differ from token to token."""
        return self.attention.span.current()

    def clamp_spans_(self) -> None:
        """Put every learned span back into [0, limit]; call after each update."""
        self.attention.span.clamp_()

    def __getstate__(self) -> dict[str, Any]:
        """Without what hangs on the graph of the last block, which cannot be copied."""
        return {**self.__dict__, "_penalty": None}
