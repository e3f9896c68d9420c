"""The whole transformer: embeddings, layers, one cache a layer, log-probabilities.

Legend: B batch, M block, C cached keys, D dim, H heads, S span limit, V vocabulary, L layers.

Under the names of the public code: `Transformer` is TransformerSeq.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adaspan.nn.attention import IMPLEMENTATIONS, resolve
from adaspan.nn.attention.groups import Group, group_heads
from adaspan.nn.layers import MultiHeadAttention, TransformerLayer
from adaspan.nn.span import Span, cache_length

# For each layer: which heads share which window.
Plan = Sequence[Sequence[Group]]


class Output(NamedTuple):
    """What a forward pass over one block gives."""

    log_probs_BMV: Tensor  # of the next token, float32 or wider
    caches: list[Tensor]  # one (B, C, D) a layer, for the next block
    penalty: Tensor  # the span loss, summed over layers
    mean_spans: list[Tensor]  # one (H,) a layer: spans in tokens, means over the block if dynamic


class Transformer(nn.Module):
    """Reads a stream block by block and gives the log-probabilities of each next token.

    Args:
        vocabulary_size: V.
        layers, dim, heads, ffn_dim: the shape.
        make_span: makes the span of one layer. All share the limit S.
        dropout: on attention weights and inside the feed-forward.
        embedding_dropout: on the embedded tokens and before the output layer.
        attention: implementation, see `adaspan.nn.attention.attend`.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        layers: int,
        dim: int,
        heads: int,
        ffn_dim: int,
        make_span: Callable[[], Span],
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        attention: str = "auto",
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, dim)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.attention = resolve(attention)
        self.layers = nn.ModuleList(
            TransformerLayer(
                MultiHeadAttention(dim, heads, make_span(), dropout, self.attention),
                dim,
                ffn_dim,
                dropout,
            )
            for _ in range(layers)
        )
        self.limit = self.spans[0].limit
        self.position_SK = nn.Parameter(torch.randn(self.limit, dim // heads))
        self.output = nn.Linear(dim, vocabulary_size)

    @property
    def spans(self) -> list[Span]:
        """The span of each layer."""
        return [layer.attention.span for layer in self._typed_layers()]

    def _typed_layers(self) -> list[TransformerLayer]:
        return cast(list[TransformerLayer], list(self.layers))

    def plan(self, batch: int, block: int) -> Plan:
        """Which heads share which window now, to read B streams by M tokens.

        Waits for the device once, for the spans of all layers; make it once a step and pass it on.
        """
        current = self.current_spans()
        spans_LH = [None] * len(self.layers) if current is None else current.tolist()
        cost_of = IMPLEMENTATIONS[self.attention].group_cost
        cost = cost_of(batch, block, self.embedding.weight.device) if cost_of else None
        return [
            group_heads(spans_H, layer.attention.heads, self.limit, span.ramp, cost)
            for layer, span, spans_H in zip(self._typed_layers(), self.spans, spans_LH, strict=True)
        ]

    def history(self) -> int:
        """Past tokens that a prediction depends on now, through all layers."""
        return sum(reach_of_layers(self.plan(1, 1)))  # the same for any batch and block

    def empty_caches(self, batch: int) -> list[Tensor]:
        """The state at the start of a stream: no history."""
        weight = self.embedding.weight
        empty = weight.new_empty(batch, 0, weight.shape[1])
        return [empty for _ in self.layers]

    def forward(
        self, tokens_BM: Tensor, caches: Sequence[Tensor], plan: Plan | None = None
    ) -> Output:
        """Read the next block of B streams.

        Args:
            tokens_BM: token ids.
            caches: what the previous block returned, or `empty_caches`. A layer's cache holds its
                past inputs, detached; it may be shorter than a span, but never holds made-up
                history.
            plan: `plan`, if known already.
        """
        plan = self.plan(*tokens_BM.shape) if plan is None else plan
        reaches = reach_of_layers(plan)
        position_SK = self.position_SK[: max(reaches)]  # further back every mask is exactly 0
        hidden_BMD = self.embedding_dropout(self.embedding(tokens_BM))
        penalty = torch.zeros((), device=hidden_BMD.device)
        next_caches, spans = [], []
        for layer, cache_BCD, groups, reach in zip(
            self._typed_layers(), caches, plan, reaches, strict=True
        ):
            next_caches.append(_next_cache(cache_BCD, hidden_BMD, cache_length(reach, self.limit)))
            hidden_BMD, span = layer(hidden_BMD, cache_BCD, position_SK, groups)
            penalty = penalty + layer.attention.span.penalty(span)
            if span is not None:
                spans.append(span.detach().transpose(0, -2).flatten(1).mean(-1))
        logits_BMV = self.output(self.embedding_dropout(hidden_BMD))
        return Output(
            F.log_softmax(logits_BMV, dim=-1),
            next_caches,
            penalty,
            spans,
        )

    def current_spans(self) -> Tensor | None:
        """Spans of all heads now, (L, H), in tokens; None if they differ from token to token."""
        spans = [span.current() for span in self.spans]
        known = [span for span in spans if span is not None]
        return torch.stack(known) if known else None

    def compile_parts(self) -> None:
        """Compile what has the same shape in every step. Attention has not: windows are learned."""
        for layer in self._typed_layers():
            layer.feed_forward.compile()

    def clamp_spans_(self) -> None:
        """Put every learned span back into [0, limit]; call after each update."""
        for span in self.spans:
            span.clamp_()


def reach_of_layers(plan: Plan) -> list[int]:
    """Past keys that each layer's longest window holds."""
    return [max(group.window for group in groups) for groups in plan]


def _next_cache(cache_BCD: Tensor, hidden_BMD: Tensor, length: int) -> Tensor:
    """The last `length` hidden states, or as many as there are."""
    old = max(0, length - hidden_BMD.shape[1])
    kept_BCD = cache_BCD[:, max(0, cache_BCD.shape[1] - old) :]
    return torch.cat([kept_BCD, hidden_BMD[:, -length:].detach()], dim=1)
