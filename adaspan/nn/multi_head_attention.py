"""Multi-head attention with a span for each head: SeqAttention and MultiHeadSeqAttention of the
public code in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from adaspan.nn.attention import IMPLEMENTATIONS, attend_unchecked, check_name, resolve
from adaspan.nn.attention.groups import Group, group_heads
from adaspan.nn.cache import HiddenCache, KeyValueCache
from adaspan.nn.checks import (
    ContractError,
    Shapes,
    check_counts,
    check_heads,
    check_probability,
    check_span,
)
from adaspan.nn.heads import ProjectedHeads, both_of, joined, of_heads, spans_of_heads
from adaspan.nn.persistent import PersistentMemory
from adaspan.nn.span import Span, SpanRangeError, check_is_span, reach


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
        check_name(implementation)
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

    def groups(
        self,
        spans: Sequence[float],
        batch: int,
        block: int,
        shortest: Sequence[float] | None = None,
    ) -> tuple[Group, ...]:
        """Which heads share which window, to read B streams by M tokens.

        Args:
            spans: what `self.span.current()` gives, on the CPU.
            batch: B.
            block: M.
            shortest: spans may be shorter, but not than these; None: they are not.
        """
        with _blamed_on(self.span, "current"):
            return self._groups(spans, spans if shortest is None else shortest, batch, block)

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
        cost_of = IMPLEMENTATIONS[self.resolved()].group_cost
        cost = cost_of(batch, block, self.query.weight.device) if cost_of else None
        return group_heads(longest, self.span.limit, self.span.ramp, cost, shortest)

    def resolved(self) -> str:
        """The implementation: what `auto` stands for where the weights are."""
        return resolve(self.implementation, self.query.weight.device, self.head_dim)

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
            ProjectedHeads(project(hidden_BMD).view(batch, block, self.heads, self.head_dim))
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
        by_head = IMPLEMENTATIONS[self.resolved()].by_head is not None
        attended: list[Tensor] = []
        for group in groups:
            assert group.window <= len(position_SK), "groups come with the longest window first"
            # Cut from the cut before, so that its gradient is filled up by no more than that.
            position_SK = position_SK[: group.window]
            past_2BHLK, own = None, (key.of(group), value.of(group))
            if by_head:
                past_2BHLK, (key_BHCK, value_BHCK) = past.before(group, *own), own
            else:
                key_BHCK, value_BHCK = past.extended(group, *own)
            attended.append(
                attend_unchecked(
                    query.of(group),
                    key_BHCK,
                    value_BHCK,
                    position_SK,
                    window=group.window,
                    span=None if span is None else of_heads(span, group.heads, dim=-2),
                    ramp=self.span.ramp,
                    unmasked=group.unmasked,
                    persistent=None if persistent is None else both_of(persistent, group.heads),
                    dropout=self.dropout if self.training else 0.0,
                    implementation=self.implementation,
                    past_2BHLK=past_2BHLK,
                    windows=group.window_of_each(),
                )
            )
        return Attended(self.output(joined(attended, groups)), span, groups)

    def _as_far_as(self, span: Tensor, group: Group) -> Group:
        """The group with the window that the spans of this block need. Waits for the device."""
        assert self.span.ramp is not None, "spans are checked"
        with _blamed_on(self.span, "forward"):
            window = reach(float(span.max()), self.span.limit, self.span.ramp)
        return group._replace(window=window)

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
    name = type(span).__name__
    try:
        yield
    except SpanRangeError as error:
        lacks = f"{error.refusal}; {name} has no clamp_() that brings it back after each update"
        raise ContractError(f"{name}.{method}: {error if span.clamps else lacks}") from None
    except ValueError as error:
        raise ContractError(f"{name}.{method}: {error}") from None
