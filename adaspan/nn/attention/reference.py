"""The formula as printed, on the whole M x C matrix of scores. Slow, and easy to believe.

Legend: B batch, H heads, M block, C cached + block keys, S window, K head_dim.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adaspan.nn.attention.limits import INVISIBLE, TINY
from adaspan.nn.span import soft_mask


def attend_reference(
    query_BHMK: Tensor,
    key_BHCK: Tensor,
    value_BHCK: Tensor,
    position_SK: Tensor,
    span: Tensor | None,
    ramp: float | None,
    unmasked: int,
    kept_BHMS: Tensor | None,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """See `adaspan.nn.attention.attend`; what `unmasked` promises is not used.

    Softmax, multiplying by the mask m and renormalising is the same as softmax(s + log m), which
    needs no division by a sum that may vanish.
    """
    block, keys, window = query_BHMK.shape[2], key_BHCK.shape[2], position_SK.shape[0]
    device = query_BHMK.device
    # x = distance - 1 from query i, which stands at key i + C - M, to key j.
    x_MC = torch.arange(keys - block, keys, device=device).unsqueeze(1) - 1
    x_MC = x_MC - torch.arange(keys, device=device)
    visible_MC = (x_MC >= 0) & (x_MC < window)

    content_BHMC = query_BHMK @ key_BHCK.transpose(-1, -2)
    position_BHMS = query_BHMK @ position_SK.T
    index_BHMC = x_MC.clamp(0, window - 1).expand_as(content_BHMC)
    scores_BHMC = content_BHMC + position_BHMS.gather(-1, index_BHMC)
    # Softmax and mask are float32 even where the products are bfloat16.
    dtype = torch.promote_types(scores_BHMC.dtype, torch.float32)
    scores_BHMC = scores_BHMC.to(dtype) / math.sqrt(query_BHMK.shape[-1])

    log_mask = scores_BHMC.new_zeros(())
    if span is not None:
        assert ramp is not None, "a span needs a ramp"
        log_mask = torch.log(soft_mask(x_MC, span.unsqueeze(-1), ramp) + TINY)
    scores_BHMC = (scores_BHMC + log_mask).masked_fill(~visible_MC, INVISIBLE)
    weights_BHMC = scores_BHMC.softmax(-1)
    if keys == block:  # no cache: the first query has no key
        weights_BHMC = weights_BHMC.masked_fill(~visible_MC, 0)
    if kept_BHMS is not None:
        kept_BHMC = kept_BHMS.gather(-1, window - 1 - index_BHMC)
        weights_BHMC = weights_BHMC * kept_BHMC / (1 - dropout)
    output_BHMK = weights_BHMC.to(value_BHCK.dtype) @ value_BHCK
    return output_BHMK, scores_BHMC.logsumexp(-1)


def reference_macs(
    sequences: int, block: int, keys: int, window: int, head_dim: int, device: torch.device
) -> tuple[int, int]:
    """Multiply-accumulates of the products of one call, forward and backward.

    Args:
        sequences: B x H.
        block: M.
        keys: C.
        window: S.
        head_dim: K.
        device: any.
    """
    forward = sequences * block * (2 * keys + window) * head_dim
    return forward, 2 * forward
