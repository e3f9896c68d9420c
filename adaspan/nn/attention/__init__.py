"""Attention over a sliding window with soft, per-head spans: one signature, several ways.

- `reference.py` is the formula as printed, dense and slow: the oracle that every other
  implementation is tested against, gradients included.
- `banded.py` computes only the band that the window reaches, on any device, cut into tiles as
  `tiles.py` says.

What a window costs is spent on every head that shares it: `groups.py` says which ones should.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from adaspan.nn.attention.banded import attend_banded, banded_macs
from adaspan.nn.attention.reference import attend_reference, reference_macs
from adaspan.nn.attention.tiles import group_cost


class Implementation(NamedTuple):
    """A way to compute `attend`."""

    attend: Callable[..., tuple[Tensor, Tensor]]  # (o_BHMK, logarithm of each weights' sum BHM)
    macs: Callable[..., tuple[int, int]]  # multiply-accumulates of a call, forward and backward
    # What heads with a window of their own cost beside it, in keys, from batch, block and device;
    # None: a window of their own does not pay.
    group_cost: Callable[[int, int, torch.device], float] | None


IMPLEMENTATIONS = {
    "reference": Implementation(attend_reference, reference_macs, group_cost=None),
    "banded": Implementation(attend_banded, banded_macs, group_cost),
}


def resolve(implementation: str) -> str:
    """Name of the implementation that `auto` stands for; any other name is returned as it is."""
    return "banded" if implementation == "auto" else implementation


def attend(
    query_BHMK: Tensor,
    key_BHCK: Tensor,
    value_BHCK: Tensor,
    position_SK: Tensor,
    *,
    span: Tensor | None = None,
    ramp: float | None = None,
    unmasked: int = 0,
    persistent: tuple[Tensor, Tensor] | None = None,
    dropout: float = 0.0,
    implementation: str = "auto",
) -> Tensor:
    """Attend from each token of a block to the S tokens before it, itself excluded.

    For a query at t and a key at t - 1 - x (paper, equations 1 to 4; x = 0 is the most recent):

        s(t, x) = (q_t . k_{t-1-x} + q_t . p_x) / sqrt(K)
        a(t, x) = m_z(x) exp s(t, x) / sum over x' of m_z(x') exp s(t, x')
        o_t     = sum over x of a(t, x) v_{t-1-x}

    Keys that do not exist (before the start of the stream) take no part; a query without any key
    gets 0 and passes no gradient.

    Args:
        query_BHMK: queries of the block, before scaling.
        key_BHCK: keys of the C - M cached tokens, then of the block itself.
        value_BHCK: values, likewise.
        position_SK: p_x, one embedding a distance, shared by all heads. Its length S is the hard
            limit of the window.
        span: z in tokens, shape (H, 1) or (B, H, M), at least float32; None: no mask.
        ramp: R in tokens; needed with a span.
        unmasked: distances below it are known to be less than every z: saves looking at them.
        persistent: keys and values (H, P, K) that every query sees in the same softmax, without
            position and mask (Sukhbaatar et al., "Augmenting Self-attention with Persistent
            Memory", equation 9).
        dropout: probability with which an attention weight is dropped. From the same random state
            every implementation drops the same weights of a call. Of a layer whose heads have
            windows of their own, each window is a call.
        implementation: `auto` or a key of `IMPLEMENTATIONS`.

    Returns:
        o_BHMK, in the dtype of the values.
    """
    kept_BHMS = None  # the oldest first
    if dropout:
        shape = (*query_BHMK.shape[:3], position_SK.shape[0])
        kept_BHMS = torch.empty(shape, dtype=torch.bool, device=query_BHMK.device)
        kept_BHMS.bernoulli_(1 - dropout)
    output_BHMK, log_sum_BHM = IMPLEMENTATIONS[resolve(implementation)].attend(
        query_BHMK,
        key_BHCK,
        value_BHCK,
        position_SK,
        span,
        ramp,
        unmasked,
        kept_BHMS,
        dropout,
    )
    if persistent is None:
        return output_BHMK
    return _joined(output_BHMK, log_sum_BHM, query_BHMK, *persistent, dropout)


def _joined(
    output_BHMK: Tensor,
    log_sum_BHM: Tensor,
    query_BHMK: Tensor,
    key_HPK: Tensor,
    value_HPK: Tensor,
    dropout: float,
) -> Tensor:
    """One softmax over the window and the persistent keys, from the two apart."""
    score_BHMP = query_BHMK @ key_HPK.transpose(-1, -2) / math.sqrt(query_BHMK.shape[-1])
    score_BHMP = score_BHMP.to(log_sum_BHM.dtype)
    total_BHM1 = torch.logaddexp(log_sum_BHM, score_BHMP.logsumexp(-1)).unsqueeze(-1)
    share_BHM1 = (log_sum_BHM.unsqueeze(-1) - total_BHM1).exp()
    weight_BHMP = F.dropout((score_BHMP - total_BHM1).exp(), dropout)
    joined_BHMK = share_BHM1 * output_BHMK + weight_BHMP @ value_HPK.to(weight_BHMP.dtype)
    return joined_BHMK.to(output_BHMK.dtype)
