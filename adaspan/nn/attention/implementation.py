"""What a way to compute attention must offer."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Attend(Protocol):
    """The window's part of `adaspan.nn.attention.attend`, which has checked every argument."""

    def __call__(
        self,
        *,
        query_BHMK: Tensor,
        key_BHCK: Tensor,
        value_BHCK: Tensor,
        position_SK: Tensor | None,
        window: int,
        span: Tensor | None,
        ramp: float | None,
        unmasked: int,
        kept_BHMS: Tensor | None,
        dropout: float,
    ) -> tuple[Tensor, Tensor]:
        """Attend from each query to the `window` keys before its own.

        `window` is S. `kept_BHMS` says which weights dropout keeps, the farthest key first; None:
        all. The others are as in `attend`.

        Returns:
            o_BHMK, and the logarithm of the sum over x of m_z(x) exp s(t, x), (B, H, M): float32 or
            wider, very low for a query without any key.
        """


class CountMacs(Protocol):
    """Counts the multiply-accumulates of the matrix products of one call."""

    def __call__(
        self,
        *,
        sequences: int,
        block: int,
        keys: int,
        window: int,
        head_dim: int,
        device: torch.device,
    ) -> tuple[int, int]:
        """Of the forward and of the backward pass, with position embeddings.

        Args:
            sequences: B x H.
            block: M.
            keys: C.
            window: S.
            head_dim: K.
            device: where it runs.
        """


class GroupCost(Protocol):
    """Fixed overhead of one group of heads, in units of one extra key in one head's window."""

    def __call__(self, batch: int, block: int, device: torch.device) -> float:
        """For B streams, read by M tokens on `device`."""


class Implementation(NamedTuple):
    """A way to compute `attend`, and what it costs.

    Args:
        attend: computes the window's part; adaspan/nn/attention/reference.py is the shortest.
        macs: counts the multiply-accumulates of one call, for the figures of FLOPs.
        group_cost: overhead of a group of heads; None: windows of a head's own save nothing.
    """

    attend: Attend
    macs: CountMacs
    group_cost: GroupCost | None
