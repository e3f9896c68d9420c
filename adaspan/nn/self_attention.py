"""Adaptive-span self-attention for a model of one's own, complete in one layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adaspan.nn.cache import next_cache
from adaspan.nn.checks import Shapes, check_device, check_floats
from adaspan.nn.eager import eager
from adaspan.nn.multi_head_attention import Attended, MultiHeadAttention
from adaspan.nn.span import LOSS_COEFFICIENT, RAMP, AdaptiveSpan, Span, cache_length, check_is_span


class AdaptiveSelfAttention(nn.Module):
    """Causal self-attention whose heads learn how far back to look, and cost no more than that.

        attention = AdaptiveSelfAttention(dim=256, heads=4, limit=1024)
        y, cache = attention(x)                # the first block of each stream
        y, cache = attention(x, cache)         # the next ones
        loss = task_loss + attention.penalty()
        loss.backward(); optimizer.step(); attention.clamp_spans_()

    A token attends to those before it, not to itself: add the layer's input to its output, as
    transformers do. The layer has position embeddings of its own. Spans stay float32 in a model of
    another precision. Inside a model that torch.compile compiles, the layer runs as it is.

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
        persistent: P, learned keys and values per head that every token sees beside those of the
            text; 0: none. With many of them a layer needs no feed-forward.

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
        persistent: int = 0,
    ) -> None:
        super().__init__()
        if span is None:
            span = AdaptiveSpan(heads, limit, ramp, loss_coefficient)
        else:
            check_is_span(span)
            if span.limit != limit:
                raise ValueError(f"limit={limit}: must equal the span's limit, {span.limit}")
            if (ramp, loss_coefficient) != (RAMP, LOSS_COEFFICIENT):
                raise ValueError(
                    "ramp, loss_coefficient: must be given to the span, not to the layer"
                )
        self.attention = MultiHeadAttention(dim, heads, span, dropout, implementation, persistent)
        self.position_SK = nn.Parameter(torch.randn(limit, dim // heads))
        self._penalty: Tensor | None = None  # of the last block
        self._lost_gradients = False

    @eager
    def forward(self, hidden_BMD: Tensor, cache: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attend from the next block of B streams to what came before. Waits for the device once.

        Args:
            hidden_BMD: hidden states of the block.
            cache: what the call for the block before returned, (B, C, D); None at the start of a
                stream.

        Returns:
            The attended hidden states (B, M, D), and the cache for the next block: past hidden
            states, detached, as many as the spans need; up to the limit if they differ from token
            to token.

        Raises:
            ValueError: a shape or a type does not fit, or a span was not clamped.
        """
        cache_BCD = self._checked(hidden_BMD, cache)
        batch, block, _ = hidden_BMD.shape
        spans, limit = self.current_spans(), self.attention.span.limit
        groups = None if spans is None else self.attention.groups(spans.tolist(), batch, block)
        reach = groups[0].window if groups else limit
        attended: Attended = self.attention(hidden_BMD, cache_BCD, self.position_SK[:reach], groups)
        penalty = self.attention.penalty(attended.span)
        self._penalty = torch.zeros((), device=hidden_BMD.device) + penalty
        learns = any(parameter.requires_grad for parameter in self.attention.span.parameters())
        self._lost_gradients = self.training and learns and not torch.is_grad_enabled()
        return attended.hidden_BMD, next_cache(cache_BCD, hidden_BMD, cache_length(reach, limit))

    def _checked(self, hidden_BMD: Tensor, cache_BCD: Tensor | None) -> Tensor:
        """The cache, empty if there is none."""
        shapes = Shapes(D=self.attention.dim)
        shapes.check("hidden states", hidden_BMD, "BMD")
        if 0 in hidden_BMD.shape:
            raise ValueError(f"hidden states: must not be empty, have {tuple(hidden_BMD.shape)}")
        wanted = self.attention.query.weight.dtype
        if hidden_BMD.dtype != wanted and not torch.is_autocast_enabled(hidden_BMD.device.type):
            raise ValueError(f"hidden states: must be {wanted}, are {hidden_BMD.dtype}")
        if cache_BCD is None:
            return hidden_BMD[:, :0].detach()
        shapes.check("cache", cache_BCD, "BCD")
        check_floats(cache=cache_BCD)
        check_device("cache", cache_BCD, hidden_BMD.device)
        return cache_BCD.to(hidden_BMD.dtype)

    def penalty(self) -> Tensor:
        """The span loss of the last block that was read, one number, for the training loss.

        Raises:
            RuntimeError: none was read yet, or in training without gradients.
        """
        if self._penalty is None:
            raise RuntimeError("penalty(): call the layer on a block first")
        if self._lost_gradients and torch.is_grad_enabled():
            raise RuntimeError(
                "penalty: the last block was read without gradients; if by "
                "torch.utils.checkpoint, use_reentrant=False keeps them"
            )
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
