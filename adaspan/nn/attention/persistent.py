"""Persistent keys: they take part in the softmax of every query, without position and mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def join_persistent(
    output_BHMK: Tensor,
    log_sum_BHM: Tensor,
    query_BHMK: Tensor,
    key_HPK: Tensor,
    value_HPK: Tensor,
    dropout: float,
) -> Tensor:
    """One softmax over the window and the persistent keys, from the window's alone.

    Args:
        output_BHMK: attended within the window.
        log_sum_BHM: logarithm of the sum that the window's weights were divided by.
        query_BHMK: before scaling.
        key_HPK: the persistent keys.
        value_HPK: their values.
        dropout: on the persistent keys' weights.
    """
    share_BHM1, weight_BHMP = persistent_weights(log_sum_BHM, query_BHMK, key_HPK)
    weight_BHMP = F.dropout(weight_BHMP, dropout)
    recalled_BHMK = torch.einsum("bhmp,hpk->bhmk", weight_BHMP, value_HPK.to(weight_BHMP.dtype))
    return (share_BHM1 * output_BHMK + recalled_BHMK).to(output_BHMK.dtype)


def persistent_weights(
    log_sum_BHM: Tensor, query_BHMK: Tensor, key_HPK: Tensor
) -> tuple[Tensor, Tensor]:
    """What is left of a query's attention for its window, (B, H, M, 1), and the weight that it
    gives to each persistent key, (B, H, M, P). Together they sum to 1.
    """
    score_BHMP = torch.einsum("bhmk,hpk->bhmp", query_BHMK, key_HPK.to(query_BHMK.dtype))
    score_BHMP = score_BHMP.to(log_sum_BHM.dtype) / math.sqrt(query_BHMK.shape[-1])
    # In one softmax, whose result is all that is kept for the backward pass.
    every = torch.cat([log_sum_BHM.unsqueeze(-1), score_BHMP], dim=-1).softmax(-1)
    return every[..., :1], every[..., 1:]
