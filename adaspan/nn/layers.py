"""A layer of the transformer: attention and feed-forward in post-norm.

Under the names of the public code: `FeedForward` is FeedForwardLayer, `TransformerLayer`
TransformerSeqLayer.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from adaspan.nn.attention.groups import Group
from adaspan.nn.cache import KeyValueCache
from adaspan.nn.multi_head_attention import Attended, MultiHeadAttention


class FeedForward(nn.Module):
    """D -> F -> D with ReLU; dropout on the inner states."""

    def __init__(self, dim: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, ffn_dim)
        self.outer = nn.Linear(ffn_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BMD: Tensor) -> Tensor:
        output_BMD: Tensor = self.outer(self.dropout(F.relu(self.inner(hidden_BMD))))
        return output_BMD


class TransformerLayer(nn.Module):
    """Post-norm: h = norm(h + attention(h)), then h = norm(h + feed_forward(h)).

    With ffn_dim 0 the second half is left out, as in the all-attention network.
    """

    def __init__(
        self, attention: MultiHeadAttention, dim: int, ffn_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, ffn_dim, dropout) if ffn_dim else None
        self.feed_forward_norm = nn.LayerNorm(dim) if ffn_dim else None

    def forward(
        self,
        hidden_BMD: Tensor,
        cache: Tensor | KeyValueCache,
        position_SK: Tensor,
        groups: Sequence[Group] | None,
    ) -> Attended:
        attended: Attended = self.attention(hidden_BMD, cache, position_SK, groups)
        hidden_BMD = self.attention_norm(hidden_BMD + attended.hidden_BMD)
        if self.feed_forward is not None and self.feed_forward_norm is not None:
            hidden_BMD = self.feed_forward_norm(hidden_BMD + self.feed_forward(hidden_BMD))
        return attended._replace(hidden_BMD=hidden_BMD)
