"""One query a sequence, without gradients: the band of scores is a row, three small products.

That is what reading a text token by token needs: no tiles, nothing kept for a backward pass.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adaspan.nn.attention.constants import INVISIBLE, TINY
from adaspan.nn.span import soft_mask


def attend_row(
    *,
    query_BH1K: Tensor,
    key_BHCK: Tensor,
    value_BHCK: Tensor,
    position_SK: Tensor | None,
    window: int,
    span: Tensor | None,
    ramp: float | None,
    unmasked: int,
) -> tuple[Tensor, Tensor]:
    """See `implementation.Attend`. Computes in float32 at least, without dropout."""
    past = key_BHCK.shape[2] - 1
    window = min(window, past)
    dtype = torch.promote_types(query_BH1K.dtype, torch.float32)
    if not window:  # the stream's start
        nothing_BH1K = torch.zeros_like(query_BH1K, dtype=value_BHCK.dtype)
        return nothing_BH1K, nothing_BH1K.new_full(query_BH1K.shape[:3], INVISIBLE, dtype=dtype)
    with torch.autocast(query_BH1K.device.type, enabled=False):
        query_BH1K = query_BH1K.to(dtype) / math.sqrt(query_BH1K.shape[-1])
        key_BHWK = key_BHCK[:, :, past - window : past].to(dtype)
        value_BHWK = value_BHCK[:, :, past - window : past].to(dtype)
        score_BH1W = query_BH1K @ key_BHWK.transpose(-1, -2)
        if position_SK is not None:
            position_WK = position_SK[:window].to(dtype)  # the nearest first, scores the farthest
            score_BH1W += (query_BH1K @ position_WK.T).flip(-1)
        if span is not None and window > unmasked:
            assert ramp is not None, "a span needs a ramp"
            x_E = torch.arange(window - 1, unmasked - 1, -1, device=span.device)
            score_BH1W[..., : len(x_E)] += (soft_mask(x_E, span.unsqueeze(-1), ramp) + TINY).log()
        top_BH11 = score_BH1W.amax(-1, keepdim=True)
        weight_BH1W = score_BH1W.sub_(top_BH11).exp_()
        sum_BH11 = weight_BH1W.sum(-1, keepdim=True)
        output_BH1K = (weight_BH1W @ value_BHWK) / sum_BH11
        log_sum_BH1 = (top_BH11 + sum_BH11.log()).squeeze(-1)
    return output_BH1K.to(value_BHCK.dtype), log_sum_BH1
