"""Attention by the kernels as one differentiable function, for heads of any windows at once."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from adaspan.nn.attention.kernels import TILE, backward, forward
from adaspan.nn.attention.kernels.sizes import Size, sizes_for

_LOG2_E = 1 / math.log(2)
# Position scores are kept for the backward pass up to so many bytes a call, beyond computed again.
_KEPT_BYTES = 2 * 2**30
# Parts into which streams are cut that add to the same gradient of positions; then parts are added.
_CHUNKS = 8


class Settings(NamedTuple):
    """All of a call that is no tensor."""

    windows: tuple[int, ...]  # of each head, which sees no farther
    ramp: float | None
    dropout: float
    precision: str  # of products in float32: tf32 or ieee


class Attention(torch.autograd.Function):
    """Attention over L keys and values of the past, (2, B, H, L, K), and those of the block.

    Gives the output (B, H, M, K), and the natural logarithms of the sums that its weights were
    divided by, (B, H, M).
    """

    @staticmethod
    def forward(
        ctx: Any,
        past_2BHLK: Tensor,
        query_BHMK: Tensor,
        key_BHMK: Tensor,
        value_BHMK: Tensor,
        position_SK: Tensor | None,
        span: Tensor | None,
        settings: Settings,
    ) -> tuple[Tensor, Tensor]:
        inputs = _Inputs(past_2BHLK, query_BHMK, key_BHMK, value_BHMK, position_SK, span)
        call = _Call(inputs, settings)
        windows_2H, seed = call.windows(), call.seed()
        scores = call.position_scores(windows_2H, seed)
        output_BHMK, log_sum_BHM = call.attend(windows_2H, scores)
        if scores is not None and scores.numel() * scores.itemsize > _KEPT_BYTES:
            scores = None
        ctx.save_for_backward(*inputs, windows_2H, seed, scores, output_BHMK, log_sum_BHM)
        ctx.settings = settings
        return output_BHMK, log_sum_BHM / _LOG2_E

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_output_BHMK: Tensor, d_log_sum_BHM: Tensor
    ) -> tuple[Tensor | None, ...]:
        inputs = _Inputs(*ctx.saved_tensors[:6])
        windows_2H, seed, scores, output_BHMK, log_sum_BHM = ctx.saved_tensors[6:]
        if d_output_BHMK.stride(-1) != 1:
            d_output_BHMK = d_output_BHMK.contiguous()
        call = _Call(inputs, ctx.settings)
        if scores is None:
            scores = call.position_scores(windows_2H, seed)
        d_inputs = call.gradients(
            windows_2H, scores, output_BHMK, log_sum_BHM, d_output_BHMK, d_log_sum_BHM.contiguous()
        )
        return *d_inputs, None


class _Inputs(NamedTuple):
    past_2BHLK: Tensor
    query_BHMK: Tensor
    key_BHMK: Tensor
    value_BHMK: Tensor
    position_SK: Tensor | None
    span: Tensor | None  # (H, 1) or (B, H, M)


class _Call:
    """The kernels of a call, with the arguments that they share.

    Where a kernel has a tensor among its arguments that this call lacks, it gets the queries in its
    place and does not look at them.
    """

    def __init__(self, inputs: _Inputs, settings: Settings) -> None:
        self._inputs = inputs
        self._settings = settings
        past_2BHLK, query_BHMK, key_BHMK, value_BHMK, position_SK, span = inputs
        batch, heads, block, head_dim = query_BHMK.shape
        self._positioned = position_SK is not None
        self._position_SK = query_BHMK
        if position_SK is not None:
            self._position_SK = position_SK.to(query_BHMK.dtype).contiguous()
        self._span = query_BHMK if span is None else span.contiguous()
        self._masked = span is not None
        self._dynamic = span is not None and span.dim() == 3
        self._dropout = settings.dropout > 0
        self._scored = self._positioned or self._dropout
        self._ramp = 1.0 if settings.ramp is None else float(settings.ramp)
        self._scale = head_dim**-0.5
        self._sizes = sizes_for(head_dim, query_BHMK.dtype, _capability(query_BHMK.device))
        self._tiles = triton.cdiv(block, TILE)
        self._widest = triton.cdiv(max(settings.windows), TILE) * TILE
        self._rows = batch * self._tiles * TILE
        # One key more than a head sees, for the kernels round otherwise than the host.
        widths = tuple(triton.cdiv(min(w + 1, self._widest), TILE) for w in settings.windows)
        self._room = sum(widths) * TILE
        # Spans of tokens have other windows in each block, which would fill the memory.
        make = _rooms if self._dynamic else _kept_rooms
        self._rooms_2H = make(widths, query_BHMK.device)
        self._by_tile = (batch * self._tiles, heads)
        self._of_all = {
            "H": heads,
            "M": block,
            "D": head_dim,
            "DP": max(16, triton.next_power_of_2(head_dim)),
            "BM": TILE,
            "PRECISION": settings.precision,
        }
        self._past = past_2BHLK.shape[3]
        self._of_scores = {
            "L": self._past,
            "ramp": self._ramp,
            "keep": 1 - settings.dropout,
            "SCORED": self._scored,
            "MASKED": self._masked,
            "DYNAMIC": self._dynamic,
            "DROPOUT": self._dropout,
        }
        strides = (t.stride()[:3] for t in (query_BHMK, past_2BHLK[0], key_BHMK, value_BHMK))
        self._strides = tuple(step for of_one in strides for step in of_one)

    def windows(self) -> Tensor:
        """How far each head sees, and the heads by that, the farthest first."""
        query_BHMK = self._inputs.query_BHMK
        heads = query_BHMK.shape[1]
        windows_2H = query_BHMK.new_empty(2, heads, dtype=torch.int32)
        forward.windows[(1,)](
            self._span.amax((0, 2)) if self._dynamic else self._span,
            self._rooms_2H[0],
            *windows_2H,
            H=heads,
            window=max(self._settings.windows),
            ramp=self._ramp,
            HP=triton.next_power_of_2(heads),
            BM=TILE,
            MASKED=self._masked,
        )
        return windows_2H

    def seed(self) -> Tensor | None:
        """Of what dropout drops, from torch's random state; stays on the device."""
        if not self._dropout:
            return None
        device = self._inputs.query_BHMK.device
        return torch.randint(2**31, (1,), device=device, dtype=torch.int32)

    def position_scores(self, windows_2H: Tensor, seed: Tensor | None) -> Tensor | None:
        """Q . p_x in key layout, and what dropout keeps."""
        if not self._scored:
            return None
        query_BHMK = self._inputs.query_BHMK
        wide = query_BHMK.dtype == torch.float32
        # Not bfloat16: its scores would be 16 times as far off.
        scores = query_BHMK.new_empty(
            self._rows * (self._room + query_BHMK.shape[1] * TILE),
            dtype=torch.float32 if wide else torch.float16,
        )
        forward.position_scores[self._by_tile](
            query_BHMK,
            self._position_SK,
            scores,
            *windows_2H,
            *self._rooms_2H,
            query_BHMK if seed is None else seed,
            *query_BHMK.stride()[:3],
            scale=self._scale * _LOG2_E,
            threshold=round(self._settings.dropout * 2**32),
            POSITIONED=self._positioned,
            DROPOUT=self._dropout,
            **_distances(self._sizes.position_scores),
            **self._of_all,
        )
        return scores

    def attend(self, windows_2H: Tensor, scores: Tensor | None) -> tuple[Tensor, Tensor]:
        """The output, and the logarithms to the base 2 of the sums."""
        past_2BHLK, query_BHMK, key_BHMK, value_BHMK, _, _ = self._inputs
        output_BHMK = torch.empty_like(query_BHMK)
        log_sum_BHM = query_BHMK.new_empty(query_BHMK.shape[:3], dtype=torch.float32)
        forward.attend[self._by_tile](
            query_BHMK,
            *past_2BHLK,
            key_BHMK,
            value_BHMK,
            query_BHMK if scores is None else scores,
            *windows_2H,
            *self._rooms_2H,
            self._span,
            output_BHMK,
            log_sum_BHM,
            *self._strides,
            *output_BHMK.stride()[:3],
            scale=self._scale * _LOG2_E,
            **_keys(self._sizes.attend),
            **self._of_all,
            **self._of_scores,
        )
        return output_BHMK, log_sum_BHM

    def gradients(
        self,
        windows_2H: Tensor,
        scores: Tensor | None,
        output_BHMK: Tensor,
        log_sum_BHM: Tensor,
        d_output_BHMK: Tensor,
        d_log_sum_BHM: Tensor,
    ) -> tuple[Tensor | None, ...]:
        """Of all inputs."""
        past_2BHLK, query_BHMK, key_BHMK, value_BHMK, _, _ = self._inputs
        batch, heads, block, head_dim = query_BHMK.shape
        of_scores = (
            *(query_BHMK, *past_2BHLK, key_BHMK, value_BHMK),
            *(query_BHMK if scores is None else scores, *windows_2H, *self._rooms_2H, self._span),
        )
        content_BHMK = query_BHMK.new_empty(query_BHMK.shape, dtype=torch.float32)
        d_scores = query_BHMK.new_empty(self._rows * self._room if self._positioned else 1)
        d_span_BHM, delta_BHM = torch.empty_like(log_sum_BHM), torch.empty_like(log_sum_BHM)
        backward.query_gradient[self._by_tile](
            *of_scores,
            *(output_BHMK, log_sum_BHM, d_output_BHMK, d_log_sum_BHM),
            *(content_BHMK, d_scores, d_span_BHM, delta_BHM),
            *(*self._strides, *output_BHMK.stride()[:3], *d_output_BHMK.stride()[:3]),
            scale=self._scale * _LOG2_E,
            STORES=self._positioned,
            **_keys(self._sizes.query_gradient),
            **self._of_all,
            **self._of_scores,
        )
        d_query_BHMK = torch.empty_like(query_BHMK)
        backward.query_gradient_by_position[self._by_tile](
            *(self._position_SK, d_scores, *windows_2H, *self._rooms_2H),
            *(content_BHMK, d_query_BHMK),
            *d_query_BHMK.stride()[:3],
            L=self._past,
            scale=self._scale,
            POSITIONED=self._positioned,
            **_distances(self._sizes.query_gradient_by_position),
            **self._of_all,
        )
        # As linear layers gave them, so that their gradients are copied no more.
        d_past_BL2HK = query_BHMK.new_empty(batch, self._past, 2, heads, head_dim)
        d_past_2BHLK = d_past_BL2HK.permute(2, 0, 3, 1, 4)
        d_block_2BMHK = query_BHMK.new_empty(2, batch, block, heads, head_dim)
        d_key_BHMK, d_value_BHMK = d_block_2BMHK.transpose(2, 3)
        size = self._sizes.key_gradient
        tiles = triton.cdiv(self._past, size.columns) + triton.cdiv(block, size.columns)
        backward.key_gradient[(tiles, heads, batch)](
            *of_scores,
            *(log_sum_BHM, d_output_BHMK, delta_BHM),
            *(*d_past_2BHLK, d_key_BHMK, d_value_BHMK),
            *(*self._strides, *d_output_BHMK.stride()[:3]),
            *(*d_past_2BHLK.stride()[1:4], *d_key_BHMK.stride()[:3]),
            scale=self._scale * _LOG2_E,
            natural_scale=self._scale,
            **_keys(size),
            **self._of_all,
            **self._of_scores,
        )
        d_position_SK = self._position_gradient(windows_2H, d_scores)
        d_span = None
        if self._masked:
            d_span = d_span_BHM if self._dynamic else d_span_BHM.sum((0, 2)).unsqueeze(-1)
        return d_past_2BHLK, d_query_BHMK, d_key_BHMK, d_value_BHMK, d_position_SK, d_span

    def _position_gradient(self, windows_2H: Tensor, d_scores: Tensor) -> Tensor | None:
        position_SK = self._inputs.position_SK
        if position_SK is None:
            return None
        query_BHMK = self._inputs.query_BHMK
        batch, heads, _, head_dim = query_BHMK.shape
        chunk = triton.cdiv(batch, _CHUNKS)
        chunks = triton.cdiv(batch, chunk)
        parts = query_BHMK.new_empty(chunks * heads, self._widest, head_dim, dtype=torch.float32)
        size = self._sizes.position_gradient
        backward.position_gradient[(self._widest // size.columns, heads, chunks)](
            *(query_BHMK, d_scores, *windows_2H, *self._rooms_2H, parts),
            *query_BHMK.stride()[:3],
            B=batch,
            WIDEST=self._widest,
            L=self._past,
            scale=self._scale,
            chunk=chunk,
            **_distances(size),
            **self._of_all,
        )
        return parts.sum(0)[: len(position_SK)].to(position_SK.dtype)


def _rooms(widths: tuple[int, ...], device: torch.device) -> Tensor:
    """Widths of the heads in tiles, and where each begins. The GPU is not waited for."""
    starts = [sum(widths[:head]) for head in range(len(widths))]
    rooms_2H = torch.tensor([widths, starts], dtype=torch.int32, device="cpu")
    if device.type == "cuda":
        rooms_2H = rooms_2H.pin_memory()
    return rooms_2H.to(device, non_blocking=True)


# Captured steps read them again and again.
_kept_rooms = cache(_rooms)


@cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (9, 0)


def _keys(size: Size) -> dict[str, int]:
    return {"BN": size.columns, "num_warps": size.warps, "num_stages": size.stages}


def _distances(size: Size) -> dict[str, int]:
    return {"BX": size.columns, "num_warps": size.warps, "num_stages": size.stages}
