"""Only the band of scores that the window reaches, tile by tile, in plain PyTorch on any device.

A tile (`tiles.py`) is a run of queries with the keys that they see between them. Row i sees the W
columns from i on, the oldest first:

    query 0   x x x x . .          W = 4, three rows; dots are outside the band
    query 1   . x x x x .
    query 2   . . x x x x

Read with rows one column longer, the band is a plain matrix with a column a distance (`band.py`).
Position scores, mask and dropout are added in that view; products with keys and values take the
whole tile, its corners set to 0.

With P the weights before dropout, g = dO . v (dropped as the weights were) and delta = dO . O, the
backward pass is dS = P (g - delta), and dz the sum of dS / m over the closed ramp, divided by R.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from adaspan.nn.attention.band import Scores, add_product, band_of, buffer_for, dropped, fit_into
from adaspan.nn.attention.masks import Mask, Ramps, make_mask
from adaspan.nn.attention.precision import comes_rounded, tensor_float_32
from adaspan.nn.attention.row import attend_row
from adaspan.nn.attention.tiles import SUITABLE, Tiling, cut
from adaspan.nn.eager import eager


@eager
def attend_banded(
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
    tiling: Tiling = SUITABLE,
) -> tuple[Tensor, Tensor]:
    """See `implementation.Attend`. Computes in float32 at least."""
    batch, heads, block, head_dim = query_BHMK.shape
    if block == 1 and kept_BHMS is None and not torch.is_grad_enabled():
        return attend_row(
            query_BH1K=query_BHMK,
            key_BHCK=key_BHCK,
            value_BHCK=value_BHCK,
            position_SK=position_SK,
            window=window,
            span=span,
            ramp=ramp,
            unmasked=unmasked,
        )
    window = _window(window, key_BHCK.shape[2])
    missing = max(0, window + block - key_BHCK.shape[2])
    dtype = torch.promote_types(query_BHMK.dtype, torch.float32)

    def reached(x_BHCK: Tensor) -> Tensor:
        x_BHCK = x_BHCK[:, :, -(window + block) :]
        if missing:  # the stream's start: made-up keys, which the scores leave out
            x_BHCK = F.pad(x_BHCK, (0, 0, missing, 0))
        return x_BHCK.to(dtype).flatten(0, 1)

    device = query_BHMK.device
    rounded = comes_rounded(query_BHMK.dtype, device)
    with torch.autocast(device.type, enabled=False), tensor_float_32(rounded):
        output_NMK, log_sum_NM = _Banded.apply(  # type: ignore[no-untyped-call]
            query_BHMK.to(dtype).flatten(0, 1) / math.sqrt(head_dim),
            reached(key_BHCK),
            reached(value_BHCK),
            None if position_SK is None else position_SK[:window].to(dtype).flip(0),
            None if span is None else span.expand(batch, heads, -1).flatten(0, 1),
            None if kept_BHMS is None else kept_BHMS[..., -window:].flatten(0, 1),
            _Settings(
                window=window,
                missing=missing,
                edge=max(0, window - unmasked),
                ramp=ramp,
                dropout=dropout,
                differentiates=torch.is_grad_enabled(),
                rounded=rounded,
                tiling=tiling,
            ),
        )
    return (
        output_NMK.unflatten(0, (batch, heads)).to(value_BHCK.dtype),
        log_sum_NM.unflatten(0, (batch, heads)),
    )


def banded_macs(
    *,
    sequences: int,
    block: int,
    keys: int,
    window: int,
    head_dim: int,
    device: torch.device,
    tiling: Tiling = SUITABLE,
) -> tuple[int, int]:
    """See `implementation.CountMacs`; what tiles compute outside the band differs by device."""
    window = _window(window, keys)
    forward = backward = 0
    for tile in cut(sequences, block, window, device, tiling=tiling):
        n, rows, columns = tile.shape
        whole, band = n * rows * columns * head_dim, n * rows * window * head_dim
        scores = whole + band  # by content and by position
        forward += scores + whole
        backward += 4 * whole + 2 * band + (0 if tile.saves else scores)
    return forward, backward


def _window(window: int, keys: int) -> int:
    """Distances that occur: at a stream's start there are fewer than the window has."""
    return max(1, min(window, keys - 1))


class _Settings(NamedTuple):
    """All of a call that is no tensor."""

    window: int  # W
    missing: int  # first keys, which do not exist
    edge: int  # E
    ramp: float | None
    dropout: float
    differentiates: bool  # there will be a backward pass
    rounded: bool  # factors of products were bfloat16
    tiling: Tiling


class _Banded(torch.autograd.Function):
    """Attention over keys (N, W + M, K): row r is the token W - r before the block's first."""

    @staticmethod
    def forward(
        ctx: Any,
        query_NMK: Tensor,
        key_NCK: Tensor,
        value_NCK: Tensor,
        position_WK: Tensor | None,
        span: Tensor | None,
        kept_NMW: Tensor | None,
        settings: _Settings,
    ) -> tuple[Tensor, Tensor]:
        n, block, _ = query_NMK.shape
        ramps: Ramps = {}
        mask = _mask_of(span, settings, ramps)
        tiles = cut(
            n,
            block,
            settings.window,
            query_NMK.device,
            query_NMK.dtype.itemsize,
            saving=settings.differentiates,
            tiling=settings.tiling,
        )
        scores = Scores(query_NMK, key_NCK, position_WK, mask, settings.missing, tiles)
        buffer = buffer_for([tile for tile in tiles if not tile.saves], query_NMK)
        weights = []
        output_NMK = torch.empty_like(query_NMK)
        top_NM1 = query_NMK.new_empty(n, block, 1)
        sum_NM1 = torch.empty_like(top_NM1)
        for tile in tiles:
            own = tile.sequences, tile.queries
            weight_NIJ = query_NMK.new_empty(tile.shape) if tile.saves else fit_into(buffer, tile)
            top_NM1[own] = scores.exponentials_(weight_NIJ, tile)
            sum_NM1[own] = weight_NIJ.sum(-1, keepdim=True)
            if tile.saves:
                weights.append(weight_NIJ)
            if kept_NMW is not None:
                weight_NIJ = dropped(weight_NIJ, kept_NMW[own])
            output_NMK[own] = torch.bmm(weight_NIJ, value_NCK[tile.sequences, tile.keys])
        sum_NM1.masked_fill_(sum_NM1 == 0, 1)  # a query without any key
        output_NMK /= sum_NM1 * (1 - settings.dropout)
        ctx.save_for_backward(
            *(query_NMK, key_NCK, value_NCK, position_WK, span, kept_NMW),
            *(output_NMK, top_NM1, sum_NM1, *weights),
        )
        ctx.settings, ctx.tiles, ctx.ramps = settings, tiles, ramps
        return output_NMK, (top_NM1 + sum_NM1.log()).squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output_NMK: Tensor, d_log_sum_NM: Tensor) -> tuple[Tensor | None, ...]:
        # As the forward pass had it.
        device, rounded = d_output_NMK.device, ctx.settings.rounded
        with torch.autocast(device.type, enabled=False), tensor_float_32(rounded):
            return _Banded._backward(ctx, d_output_NMK, d_log_sum_NM)

    @staticmethod
    def _backward(
        ctx: Any, d_output_NMK: Tensor, d_log_sum_NM: Tensor
    ) -> tuple[Tensor | None, ...]:
        query_NMK, key_NCK, value_NCK, position_WK, span, kept_NMW, *rest = ctx.saved_tensors
        output_NMK, top_NM1, sum_NM1, *weights = rest
        settings, tiles = ctx.settings, ctx.tiles
        mask = _mask_of(span, settings, ctx.ramps)
        scores = Scores(query_NMK, key_NCK, position_WK, mask, settings.missing, tiles)
        buffer = buffer_for(tiles, query_NMK)
        second_buffer = buffer_for([tile for tile in tiles if not tile.saves], query_NMK)
        saved_weights = iter(weights)

        # The saved weights are not yet divided by their sum: what they meet is divided instead.
        delta_NM1 = (d_output_NMK * output_NMK).sum(-1, keepdim=True) - d_log_sum_NM.unsqueeze(-1)
        delta_NM1 /= sum_NM1
        d_output_NMK = d_output_NMK / (sum_NM1 * (1 - settings.dropout))

        d_query_NMK = torch.empty_like(query_NMK)
        d_key_NCK = torch.zeros_like(key_NCK)
        d_value_NCK = torch.zeros_like(value_NCK)
        d_position_WK = None if position_WK is None else torch.zeros_like(position_WK)
        for tile in tiles:
            own, seen = (tile.sequences, tile.queries), (tile.sequences, tile.keys)
            if tile.saves:
                weight_NIJ = next(saved_weights)
            else:
                weight_NIJ = fit_into(second_buffer, tile)
                scores.exponentials_(weight_NIJ, tile, top_NM1[own])
            query_NIK, d_output_NIK = query_NMK[own], d_output_NMK[own]
            d_score_NIJ = fit_into(buffer, tile)
            d_score_NIW = band_of(d_score_NIJ)

            torch.bmm(d_output_NIK, value_NCK[seen].transpose(1, 2), out=d_score_NIJ)
            dropped_NIJ = weight_NIJ
            if kept_NMW is not None:
                d_score_NIW.mul_(kept_NMW[own])
                dropped_NIJ = dropped(weight_NIJ, kept_NMW[own])
            add_product(d_value_NCK[seen], dropped_NIJ.transpose(1, 2), d_output_NIK)
            d_score_NIJ.sub_(delta_NM1[own]).mul_(weight_NIJ)

            add_product(d_key_NCK[seen], d_score_NIJ.transpose(1, 2), query_NIK)
            d_query_NIK = torch.bmm(d_score_NIJ, key_NCK[seen])
            if d_position_WK is not None:
                add_product(d_query_NIK, d_score_NIW, position_WK.expand(len(query_NIK), -1, -1))
                d_position_WK += torch.bmm(d_score_NIW.transpose(1, 2), query_NIK).sum(0)
            d_query_NMK[own] = d_query_NIK
            if mask is not None:
                mask.take_gradient(d_score_NIW, tile)
        d_span = None if span is None else torch.zeros_like(span)
        if mask is not None:
            d_span = mask.gradient()
        d_inputs = d_query_NMK, d_key_NCK, d_value_NCK, d_position_WK, d_span
        return *d_inputs, None, None


def _mask_of(span: Tensor | None, settings: _Settings, ramps: Ramps) -> Mask | None:
    if span is None or not settings.edge:
        return None
    assert settings.ramp is not None, "a span needs a ramp"
    return make_mask(span, settings.ramp, settings.window, settings.edge, ramps)
