"""What a layer remembers of the text before a block, in two forms.

In training, a `HiddenCache`: past hidden states, whose keys and values are computed again for every
block, because the weights learn from that. Once weights no longer change, a `KeyValueCache`: keys
and values are computed once and kept, for each group of heads as far as the group sees. Then a
token costs the same however long the text has become.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from adaspan.nn.attention.groups import Group

# Tokens that are read before what is still seen moves to the front of its memory.
_ROOM = 256


class HiddenCache:
    """Past hidden states of a layer, projected anew for each block.

    Apart from the block's, because the detached cache needs no gradient: in one product with the
    block, autograd would compute it and throw it away.

    Args:
        cache_BCD: past inputs of the layer.
        key_weight_DD, value_weight_DD: what makes keys and values of them, for all heads.
        heads: H.
    """

    def __init__(
        self, cache_BCD: Tensor, key_weight_DD: Tensor, value_weight_DD: Tensor, heads: int
    ) -> None:
        self._cache_BCD = cache_BCD
        self._both_DD = key_weight_DD, value_weight_DD
        self._key_KD, self._value_KD = (
            weight_DD.view(heads, -1, weight_DD.shape[1]).unbind(0)
            for weight_DD in (key_weight_DD, value_weight_DD)
        )

    def extended(self, group: Group, key_BHMK: Tensor, value_BHMK: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, C, K) that a group sees: past ones, then those of the block.

        Args:
            group: of heads.
            key_BHMK: keys of the block, for the heads of the group.
            value_BHMK: values, likewise.
        """
        past_key, past_value = self.before(group, key_BHMK, value_BHMK)
        return torch.cat([past_key, key_BHMK], dim=2), torch.cat([past_value, value_BHMK], dim=2)

    def before(self, group: Group, key_BHMK: Tensor, value_BHMK: Tensor) -> Tensor:
        """The past ones alone, (2, B, H, L, K): keys, then values."""
        seen_BCD = self._cache_BCD[:, -group.window :]
        heads, head_dim = len(group.heads), key_BHMK.shape[-1]
        weights = list(self._both_DD)
        if heads < len(self._key_KD):
            weights = [
                *(self._key_KD[head] for head in group.heads),
                *(self._value_KD[head] for head in group.heads),
            ]
        projected = F.linear(seen_BCD, torch.cat(weights))
        projected_BC2HK = projected.view(*seen_BCD.shape[:2], 2, heads, head_dim)
        return projected_BC2HK.permute(2, 0, 3, 1, 4)


def next_cache(cache_BCD: Tensor, hidden_BMD: Tensor, length: int) -> Tensor:
    """The last `length` hidden states of a stream, detached, or as many as there are; in the type
    that the cache has.
    """
    old = max(0, length - hidden_BMD.shape[1])
    kept_BCD = cache_BCD[:, max(0, cache_BCD.shape[1] - old) :]
    new_BMD = hidden_BMD[:, -length:].detach().to(cache_BCD.dtype)
    return torch.cat([kept_BCD, new_BMD], dim=1)


class KeyValueCache:
    """Keys and values of a layer's past tokens, for each group of heads as far as it sees.

    Args:
        groups: which heads share which window, see `MultiHeadAttention.groups`.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = tuple(groups)
        self._recent = {group.heads: _Recent(group.window) for group in groups}

    def extended(self, group: Group, key_BHMK: Tensor, value_BHMK: Tensor) -> tuple[Tensor, Tensor]:
        """See `HiddenCache.extended`. The block's own are past ones from the next call on.

        Args:
            group: one of `groups`; its window may be shorter here.
            key_BHMK: keys of the block, for the heads of the group.
            value_BHMK: values, likewise.
        """
        key_BHCK, value_BHCK = self._recent[group.heads].extended(key_BHMK, value_BHMK)
        return key_BHCK, value_BHCK

    def before(self, group: Group, key_BHMK: Tensor, value_BHMK: Tensor) -> Tensor:
        """See `HiddenCache.before`. Keeps the block's own, as `extended` does."""
        every_2BHCK = self._recent[group.heads].extended(key_BHMK, value_BHMK)
        return every_2BHCK[:, :, :, : -key_BHMK.shape[2]]


class _Recent:
    """The last keys and values of some heads, in memory that does not grow with the text.

    Args:
        window: how many of the past are seen.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._kept_2BHCK: Tensor | None = None  # keys and values; the last places are still free
        self._length = 0  # tokens that are kept

    def extended(self, key_BHMK: Tensor, value_BHMK: Tensor) -> Tensor:
        """See `KeyValueCache.extended`: (2, B, H, C, K)."""
        block = key_BHMK.shape[2]
        if self._kept_2BHCK is None or self._length + block > self._kept_2BHCK.shape[3]:
            self._kept_2BHCK = self._with_room_for(key_BHMK)
        start, end = max(0, self._length - self._window), self._length + block
        for kept_BHCK, new_BHMK in zip(self._kept_2BHCK, (key_BHMK, value_BHMK), strict=True):
            kept_BHCK[:, :, self._length : end] = new_BHMK
        self._length = end
        return self._kept_2BHCK[:, :, :, start:end]

    def _with_room_for(self, key_BHMK: Tensor) -> Tensor:
        """What is still seen, moved to the front of new memory."""
        batch, heads, block, head_dim = key_BHMK.shape
        seen = min(self._length, self._window)
        room = key_BHMK.new_empty(2, batch, heads, seen + max(block, _ROOM), head_dim)
        if self._kept_2BHCK is not None:
            old = slice(self._length - seen, self._length)
            room[:, :, :, :seen] = self._kept_2BHCK[:, :, :, old]
        self._length = seen
        return room
