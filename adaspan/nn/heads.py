"""What belongs to some heads of a layer, out of what is there for all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adaspan.nn.attention.groups import Group


class ProjectedHeads:
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


def joined(attended: Sequence[Tensor], groups: Sequence[Group]) -> Tensor:
    """What groups attended to, (B, H, M, K) each, side by side in the order of heads: (B, M, D).

    One group of all heads, as it is.
    """
    if len(groups) == 1:
        return attended[0].transpose(1, 2).flatten(2)
    of_head: dict[int, Tensor] = {}
    for group, attended_BHMK in zip(groups, attended, strict=True):
        of_head |= zip(group.heads, attended_BHMK.unbind(1), strict=True)
    return torch.cat([of_head[head] for head in range(len(of_head))], dim=-1)


def of_heads(every: Tensor, heads: Sequence[int], dim: int) -> Tensor:
    """What belongs to some heads. Indexing by a list would have a GPU wait for the list."""
    if len(heads) == every.shape[dim]:
        return every
    each = every.unbind(dim)
    return torch.stack([each[head] for head in heads], dim)


def both_of(keys_and_values: tuple[Tensor, Tensor], heads: Sequence[int]) -> tuple[Tensor, Tensor]:
    key_HPK, value_HPK = keys_and_values
    return of_heads(key_HPK, heads, dim=0), of_heads(value_HPK, heads, dim=0)
