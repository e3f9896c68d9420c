"""The formula as printed, on the whole M x C matrix of scores. Slow, and easy to believe."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adaspan.nn.attention.constants import INVISIBLE, TINY
from adaspan.nn.span import soft_mask


def attend_reference(
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
    """See `implementation.Attend`; what `unmasked` promises is not used."""
    weights_BHMC, log_sum_BHM = attention_weights(
        query_BHMK, key_BHCK, position_SK, window, span, ramp
    )
    if kept_BHMS is not None:
        x_MC = _distances(query_BHMK, key_BHCK).clamp(0, window - 1)
        kept_BHMC = kept_BHMS.gather(-1, window - 1 - x_MC.expand_as(weights_BHMC))
        weights_BHMC = weights_BHMC * kept_BHMC / (1 - dropout)
    output_BHMK = weights_BHMC.to(value_BHCK.dtype) @ value_BHCK
    return output_BHMK.to(value_BHCK.dtype), log_sum_BHM


def attention_weights(
    query_BHMK: Tensor,
    key_BHCK: Tensor,
    position_SK: Tensor | None,
    window: int,
    span: Tensor | None,
    ramp: float | None,
) -> tuple[Tensor, Tensor]:
    """Weights (B, H, M, C) of all keys, and the logarithm of the sum that they were divided by.

    Softmax, multiplying by the mask m and renormalising is the same as softmax(s + log m), which
    needs no division by a sum that may vanish.
    """
    x_MC = _distances(query_BHMK, key_BHCK)
    visible_MC = (x_MC >= 0) & (x_MC < window)

    dtype = query_BHMK.dtype
    scores_BHMC = query_BHMK @ key_BHCK.to(dtype).transpose(-1, -2)
    if position_SK is not None:
        index_BHMC = x_MC.clamp(0, window - 1).expand_as(scores_BHMC)
        scores_BHMC = scores_BHMC + (query_BHMK @ position_SK.to(dtype).T).gather(-1, index_BHMC)
    # Softmax and mask are float32 even where the products are bfloat16.
    wide = torch.promote_types(scores_BHMC.dtype, torch.float32)
    scores_BHMC = scores_BHMC.to(wide) / math.sqrt(query_BHMK.shape[-1])

    log_mask = scores_BHMC.new_zeros(())
    if span is not None:
        assert ramp is not None, "a span needs a ramp"
        log_mask = torch.log(soft_mask(x_MC, span.unsqueeze(-1), ramp) + TINY)
    scores_BHMC = (scores_BHMC + log_mask).masked_fill(~visible_MC, INVISIBLE)
    weights_BHMC = scores_BHMC.softmax(-1)
    if x_MC.shape[0] == x_MC.shape[1]:  # no cache: the first query has no key
        weights_BHMC = weights_BHMC.masked_fill(~visible_MC, 0)
    return weights_BHMC, scores_BHMC.logsumexp(-1)


def _distances(query_BHMK: Tensor, key_BHCK: Tensor) -> Tensor:
    """X (M, C) = distance - 1 from query i, which stands at key i + C - M, to key j."""
    block, keys, device = query_BHMK.shape[2], key_BHCK.shape[2], query_BHMK.device
    at_M1 = torch.arange(keys - block, keys, device=device).unsqueeze(1)
    return at_M1 - 1 - torch.arange(keys, device=device)


def reference_macs(
    *, sequences: int, block: int, keys: int, window: int, head_dim: int, device: torch.device
) -> tuple[int, int]:
    """See `implementation.CountMacs`."""
    forward = sequences * block * (2 * keys + window) * head_dim
    return forward, 2 * forward
