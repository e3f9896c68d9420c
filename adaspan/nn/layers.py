"""The layers of the transformer: multi-head attention, feed-forward, and the two in post-norm.

Under the names of the public code: `MultiHeadAttention` is SeqAttention and MultiHeadSeqAttention,
`FeedForward` FeedForwardLayer, and `TransformerLayer` TransformerSeqLayer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adaspan.nn.attention import BUILT_IN, IMPLEMENTATIONS, attend_unchecked, resolve
from adaspan.nn.attention.groups import Group, group_heads
from adaspan.nn.attention.persistent import persistent_weights
from adaspan.nn.attention.reference import attention_weights
from adaspan.nn.cache import HiddenCache, KeyValueCache
from adaspan.nn.checks import (
    ContractError,
    Shapes,
    check_counts,
    check_heads,
    check_probability,
    check_span,
)
from adaspan.nn.persistent import PersistentMemory
from adaspan.nn.span import Span, check_is_span, reach


class Attended(NamedTuple):
    """What attention, or a whole layer, makes of a block."""

    hidden_BMD: Tensor
    span: Tensor | None  # what masked the keys, see `Span.forward`
    groups: Sequence[Group]  # which heads were computed with which window


class MultiHeadAttention(nn.Module):
    """Attention from the block to `[cache | block]` with relative positions (paper, section 2.1).

    Args:
        dim: D; must be divisible by heads.
        heads: H.
        span: how far back each head looks.
        dropout: on the attention weights.
        implementation: see `adaspan.nn.attention.attend`.
        persistent: P, learned keys and values per head that every token sees; 0: none.

    Raises:
        ValueError: a value is out of its range, or the span is of another number of heads.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        span: Span,
        dropout: float,
        implementation: str,
        persistent: int = 0,
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        check_probability(dropout=dropout)
        check_counts(0, persistent=persistent)
        resolve(implementation)
        check_is_span(span)
        span.check_layer(dim, heads)
        current = span.current()
        if current is not None:
            with _blamed_on(span, "current"):
                Shapes(H=heads).check("span", current, "H")
        self.dim = dim
        self.heads = heads
        self.head_dim = dim // heads
        self.span = span
        self.dropout = dropout
        self.implementation = implementation
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)
        self.persistent = PersistentMemory(heads, self.head_dim, persistent) if persistent else None

    def groups(self, spans: Sequence[float], batch: int, block: int) -> tuple[Group, ...]:
        """Which heads share which window, to read B streams by M tokens.

        Args:
            spans: what `self.span.current()` gives, on the CPU.
            batch: B.
            block: M.
        """
        with _blamed_on(self.span, "current"):
            return self._groups(spans, spans, batch, block)

    def _groups_of(self, span: Tensor | None, batch: int, block: int) -> tuple[Group, ...]:
        """The same for a block whose spans are known only now: as far as its own ones reach.

        Waits for the device. On a GPU, too: to guess a window would be inexact, and to compute the
        whole limit takes many times as long as starting the queue of kernels again.
        """
        if span is None:
            ends_2H = [[float(self.span.limit)] * self.heads] * 2
        else:
            ends_2H = torch.stack(spans_of_heads(span.detach()).aminmax(dim=-1)).tolist()
        with _blamed_on(self.span, "forward"):
            return self._groups(ends_2H[1], ends_2H[0], batch, block)

    def _groups(
        self, longest: Sequence[float], shortest: Sequence[float], batch: int, block: int
    ) -> tuple[Group, ...]:
        cost_of = IMPLEMENTATIONS[resolve(self.implementation)].group_cost
        cost = cost_of(batch, block, self.query.weight.device) if cost_of else None
        return group_heads(longest, self.span.limit, self.span.ramp, cost, shortest)

    def forward(
        self,
        hidden_BMD: Tensor,
        cache: Tensor | KeyValueCache,
        position_SK: Tensor,
        groups: Sequence[Group] | None,
    ) -> Attended:
        """Attend from a block of hidden states to those before them.

        Args:
            hidden_BMD: of the block.
            cache: past ones (B, C, D), as far as any head reaches; may be fewer where a stream
                starts. Or their keys and values, to which the block's are added.
            position_SK: an embedding per distance, at least as many as the longest window.
            groups: what `groups` gives; None: as far as the spans of this block reach.
        """
        batch, block, _ = hidden_BMD.shape
        span = self.spans(hidden_BMD)
        if groups is None:
            groups = self._groups_of(span, batch, block)
        query, key, value = (
            _Heads(project(hidden_BMD).view(batch, block, self.heads, self.head_dim))
            for project in (self.query, self.key, self.value)
        )
        past: HiddenCache | KeyValueCache
        if isinstance(cache, Tensor):
            past = HiddenCache(cache, self.key.weight, self.value.weight, self.heads)
        else:
            past = cache
            if span is not None and self.span.current() is None:
                groups = [self._as_far_as(span, group) for group in groups]
        persistent = None if self.persistent is None else self.persistent()
        attended: dict[int, Tensor] = {}
        for group in groups:
            assert group.window <= len(position_SK), "groups come with the longest window first"
            # Cut from the cut before, so that its gradient is filled up by no more than that.
            position_SK = position_SK[: group.window]
            key_BHCK, value_BHCK = past.extended(group, key.of(group), value.of(group))
            attended_BHMK = attend_unchecked(
                query.of(group),
                key_BHCK,
                value_BHCK,
                position_SK,
                window=group.window,
                span=None if span is None else _of_heads(span, group.heads, dim=-2),
                ramp=self.span.ramp,
                unmasked=group.unmasked,
                persistent=None if persistent is None else _both_of(persistent, group.heads),
                dropout=self.dropout if self.training else 0.0,
                implementation=self.implementation,
            )
            attended |= zip(group.heads, attended_BHMK.unbind(1), strict=True)
        attended_BMD = torch.cat([attended[head] for head in range(self.heads)], dim=-1)
        return Attended(self.output(attended_BMD), span, groups)

    def _as_far_as(self, span: Tensor, group: Group) -> Group:
        """The group with the window that the spans of this block need. Waits for the device."""
        assert self.span.ramp is not None, "spans are checked"
        with _blamed_on(self.span, "forward"):
            window = reach(float(span.max()), self.span.limit, self.span.ramp)
        return group._replace(window=window)

    def weights(self, hidden_BMD: Tensor, position_SK: Tensor) -> Tensor:
        """Attention weights (B, H, M, M) over a block without a cache, by the printed formula.

        With persistent memory a token's weights sum to what that leaves for the text, less than 1.

        Args:
            hidden_BMD: hidden states from the start of their streams.
            position_SK: an embedding for every distance up to the limit.

        Raises:
            ValueError: the implementation is not built in, so that its weights may be others.
        """
        name = resolve(self.implementation)
        if name not in BUILT_IN:
            raise ValueError(
                f"attention={name}: its weights are not known, those of "
                f"{' and '.join(BUILT_IN)} are"
            )
        shape = (*hidden_BMD.shape[:2], self.heads, self.head_dim)
        query_BHMK, key_BHMK = (
            project(hidden_BMD).view(shape).transpose(1, 2) for project in (self.query, self.key)
        )
        span, ramp = self.spans(hidden_BMD), self.span.ramp
        if span is not None:
            weights_BHMM, log_sum_BHM = attention_weights(
                query_BHMK, key_BHMK, position_SK, len(position_SK), span, ramp
            )
        else:  # each head may have a hard window of its own
            of_heads = [
                attention_weights(query_B1MK, key_B1MK, position_SK[:window], window, None, None)
                for query_B1MK, key_B1MK, window in zip(
                    query_BHMK.split(1, dim=1),
                    key_BHMK.split(1, dim=1),
                    self._hard_windows(len(position_SK)),
                    strict=True,
                )
            ]
            weights_BHMM, log_sum_BHM = (torch.cat(p, dim=1) for p in zip(*of_heads, strict=True))
        if self.persistent is None:
            return weights_BHMM
        key_HPK, _ = self.persistent()
        return weights_BHMM * persistent_weights(log_sum_BHM, query_BHMK, key_HPK)[0]

    def _hard_windows(self, most: int) -> list[int]:
        """Past keys that each head sees without a mask, of so many at most."""
        current = self.span.current()
        windows = [most] * self.heads if current is None else current.tolist()
        return [min(most, int(window)) for window in windows]

    def spans(self, hidden_BMD: Tensor) -> Tensor | None:
        """The spans of a block, checked."""
        span: Tensor | None = self.span(hidden_BMD)
        if span is not None:
            batch, block, _ = hidden_BMD.shape
            with _blamed_on(self.span, "forward"):
                check_span(span, Shapes(B=batch, H=self.heads, M=block))
                if self.span.ramp is None:
                    raise ValueError("span: must be None, for there is no ramp")
        return span

    def penalty(self, span: Tensor | None) -> Tensor | float:
        """What the training loss pays for the spans of a block."""
        penalty = self.span.penalty(span)
        if isinstance(penalty, Tensor):
            is_number, given = penalty.numel() == 1, str(tuple(penalty.shape))
        else:
            is_number, given = isinstance(penalty, int | float), type(penalty).__name__
        if is_number:
            return penalty
        raise ContractError(f"{type(self.span).__name__}.penalty: must give a number, gave {given}")


@contextmanager
def _blamed_on(span: Span, method: str) -> Iterator[None]:
    """Raise what is wrong with what a span gives as the mistake of its method."""
    try:
        yield
    except ValueError as error:
        raise ContractError(f"{type(span).__name__}.{method}: {error}") from None


class _Heads:
    """What was projected for all heads; taken apart once, so that its gradient is one copy."""

    def __init__(self, every_BMHK: Tensor) -> None:
        self._every_BHMK = every_BMHK.transpose(1, 2)
        self._each_BMK = every_BMHK.unbind(2)

    def of(self, group: Group) -> Tensor:
        """(B, H, M, K) of the group's heads."""
        if len(group.heads) == len(self._each_BMK):
            return self._every_BHMK
        return torch.stack([self._each_BMK[head] for head in group.heads], dim=1)


def spans_of_heads(span: Tensor) -> Tensor:
    """(H, 1), or (H, B x M) if each token has its own."""
    return span.transpose(0, -2).flatten(1)


def _of_heads(every: Tensor, heads: Sequence[int], dim: int) -> Tensor:
    """What belongs to some heads. Indexing by a list would have a GPU wait for the list."""
    each = every.unbind(dim)
    return torch.stack([each[head] for head in heads], dim)


def _both_of(keys_and_values: tuple[Tensor, Tensor], heads: Sequence[int]) -> tuple[Tensor, Tensor]:
    key_HPK, value_HPK = keys_and_values
    return _of_heads(key_HPK, heads, dim=0), _of_heads(value_HPK, heads, dim=0)


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
