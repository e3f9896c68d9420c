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


class AttendByHead(Protocol):
    """`Attend` for all heads of a layer, each computed only as far as its own spans reach."""

    def __call__(
        self,
        *,
        past_2BHLK: Tensor,
        query_BHMK: Tensor,
        key_BHMK: Tensor,
        value_BHMK: Tensor,
        position_SK: Tensor | None,
        windows: tuple[int, ...],
        span: Tensor | None,
        ramp: float | None,
        dropout: float,
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of the past apart from the block's own, for nothing needs them in one.

        `past_2BHLK` has the keys of the L tokens before the block, then their values. What dropout
        drops is drawn here, from torch's random state. `windows` are those of the heads, none of
        which sees farther. The rest is as in `Attend`.
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


class Unfit(Protocol):
    """Says why an implementation cannot compute."""

    def __call__(self, device: torch.device, head_dim: int) -> str | None:
        """What heads of this width on `device` lack, as in "needs a GPU"; None: it can."""


class Implementation(NamedTuple):
    """A way to compute `attend`, and what it costs.

    Every argument is passed by name, but those of `group_cost`:

        attend(*, query_BHMK, key_BHCK, value_BHCK, position_SK, window, span, ramp, unmasked,
               kept_BHMS, dropout)
            gives (o_BHMK, log_sum_BHM): the output in the dtype of the values, and the logarithm
            of the sum over x of m_z(x) exp s(t, x), at least float32, very low without any key
        macs(*, sequences, block, keys, window, head_dim, device)
            gives (forward, backward): multiply-accumulates of one call, two whole numbers
        group_cost(batch, block, device)
            gives a float: overhead of a group of heads, in keys of one head's window

    | argument | is |
    |---|---|
    | `query_BHMK` | queries of a block of M tokens, before scaling by 1 / sqrt(K) |
    | `key_BHCK`, `value_BHCK` | of the C - M tokens before the block, then of the block |
    | `position_SK` | p_x, an embedding a distance; None: no such term |
    | `window` | S: a query sees the S keys before its own |
    | `span` | z in tokens, (H, 1) or (B, H, M); None: no mask |
    | `ramp` | R in tokens; None without a span |
    | `unmasked` | distances below it are less than every z: looking at the mask may be saved |
    | `kept_BHMS` | bool: the weights that dropout keeps, the farthest key first; None: all |
    | `dropout` | probability: kept weights are divided by 1 - dropout |
    | `sequences`, `block`, `keys`, `head_dim` | B x H, M, C, K |
    | `batch`, `device` | B; where it runs |

    H is the number of heads in a call, which may be some of a layer's: heads that see about as
    far are computed in one call, with the window of the one that sees farthest. `group_cost`
    decides how many calls there are. None: one, for a window of a head's own saves nothing.

    Args:
        attend: computes the window's part; adaspan.nn.attention.reference is the shortest.
        macs: for the figures of FLOPs.
        group_cost: see above.
        unfit: why it cannot compute somewhere; None: it can anywhere.
        by_head: a layer calls it in place of `attend`. Then `macs` is asked for each head with its
            own window, and `attend`, too, draws dropout itself: `kept_BHMS` is None.
    """

    attend: Attend
    macs: CountMacs
    group_cost: GroupCost | None
    unfit: Unfit | None = None
    by_head: AttendByHead | None = None
