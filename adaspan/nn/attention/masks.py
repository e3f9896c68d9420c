"""The soft mask over the band of scores, and what it passes back to the spans.

Where a head has one span, its mask is the same for every query: one row of logarithms, added to
all. Where each token has its own, only its ramp is computed: of the keys, those nearer are seen in
full, and those beyond are left out. So both cost little beside the scores.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from adaspan.nn.attention.constants import TINY
from adaspan.nn.attention.tiles import Tile
from adaspan.nn.span import soft_mask


class Mask(Protocol):
    """For the W distances of a window, of which the farthest E are masked; the oldest first."""

    def add_to_(self, score_NIW: Tensor, tile: Tile) -> None:
        """Add the logarithm of the mask to the scores of a tile."""

    def leave_out_(self, weight_NIW: Tensor) -> None:
        """Set weights of the same tile to 0 where the mask is, before they meet small numbers."""

    def take_gradient(self, d_score_NIW: Tensor, tile: Tile) -> None:
        """Add what the scores of a tile pass back."""

    def gradient(self) -> Tensor:
        """Gradient of the span, from all that was taken."""


class Ramp(NamedTuple):
    """Of each row of a tile the X distances that may lie on its ramp, or by rounding beside it."""

    column_NIX: Tensor  # of the band; where the window ends before, some other
    mask_NIX: Tensor  # above 0
    on_NIX: Tensor  # whether it is on the ramp, both ends included, and in the window


# By the first sequence and query of a tile.
Ramps = dict[tuple[int, int], Ramp]


def make_mask(span: Tensor, ramp: float, window: int, edge: int, ramps: Ramps) -> Mask:
    """The mask of a call.

    Args:
        span: z in tokens, (N, 1), or (N, M) if each token has its own.
        ramp: R.
        window: W.
        edge: E; nearer keys are not masked.
        ramps: what the forward pass has found of tiles that save; it fills this, where each token
            has its own span.
    """
    if span.shape[1] == 1:
        return _MaskOfHeads(span, ramp, window, edge)
    return _MaskOfTokens(span, ramp, window, edge, ramps)


class _MaskOfHeads:
    """One mask for all rows of a sequence."""

    def __init__(self, span_N1: Tensor, ramp: float, window: int, edge: int) -> None:
        self._span_N1 = span_N1
        self._ramp = ramp
        self._edge = edge
        self._distance_E = torch.arange(window - 1, window - 1 - edge, -1, device=span_N1.device)
        self._log_N1E = (soft_mask(self._distance_E, span_N1.unsqueeze(-1), ramp) + TINY).log()
        self._d_log_N1E = torch.zeros_like(self._log_N1E)

    def add_to_(self, score_NIW: Tensor, tile: Tile) -> None:
        score_NIW[..., : self._edge] += self._log_N1E[tile.sequences]

    def leave_out_(self, weight_NIW: Tensor) -> None:
        """Windows end where masks do."""

    def take_gradient(self, d_score_NIW: Tensor, tile: Tile) -> None:
        d_log_NIE = d_score_NIW[..., : self._edge]
        self._d_log_N1E[tile.sequences] += d_log_NIE.sum(1, keepdim=True)

    def gradient(self) -> Tensor:
        return _to_span(self._d_log_N1E, self._distance_E, self._span_N1.unsqueeze(-1), self._ramp)


class _MaskOfTokens:
    """A mask a row. Only at the X distances that may lie on the row's ramp it takes a logarithm."""

    def __init__(self, span_NM: Tensor, ramp: float, window: int, edge: int, ramps: Ramps) -> None:
        self._span_NM = span_NM
        self._ramp = ramp
        self._window = window
        self._ramps = ramps
        # Of the masked distances those that are beyond the ramp of the shortest span, or longer.
        first, beyond = window - 1, max(0, edge - math.floor(ramp))
        self._distance_E = torch.arange(
            first, first - beyond, -1, device=span_NM.device, dtype=span_NM.dtype
        )
        self._step_X = torch.arange(
            math.floor(ramp) + 3, device=span_NM.device, dtype=span_NM.dtype
        )
        self._room = self._beyond_NIE = span_NM.new_empty(0)
        self._d_span_NM = torch.zeros_like(span_NM)

    def add_to_(self, score_NIW: Tensor, tile: Tile) -> None:
        span_NI1 = self._span_NM[tile.sequences, tile.queries].unsqueeze(-1)
        self._beyond_NIE = self._room_for(score_NIW)  # 0 and 1
        torch.gt(self._distance_E, self._ramp + span_NI1, out=self._beyond_NIE)
        # Not minus infinity, nor near it: exp takes a hundred times as long where it vanishes.
        score_NIW[..., : len(self._distance_E)].add_(self._beyond_NIE, alpha=math.log(TINY))
        column_NIX, mask_NIX, on_NIX = self._ramp_of(tile)
        log_NIX = mask_NIX.log().mul_(on_NIX)
        score_NIW.scatter_add_(-1, column_NIX, log_NIX.to(score_NIW.dtype))

    def leave_out_(self, weight_NIW: Tensor) -> None:
        # Products with weights of 1e-30 would be so small that processors take long over them.
        weight_NIE = weight_NIW[..., : len(self._distance_E)]
        weight_NIE.addcmul_(weight_NIE, self._beyond_NIE, value=-1)

    def take_gradient(self, d_score_NIW: Tensor, tile: Tile) -> None:
        column_NIX, mask_NIX, on_NIX = self._ramp_of(tile)
        d_log_NIX = d_score_NIW.gather(-1, column_NIX).mul_(on_NIX)
        d_span_NI = d_log_NIX.div_(mask_NIX).sum(-1) / self._ramp
        self._d_span_NM[tile.sequences, tile.queries] = d_span_NI

    def gradient(self) -> Tensor:
        return self._d_span_NM

    def _ramp_of(self, tile: Tile) -> Ramp:
        key = tile.sequences.start, tile.queries.start
        ramp = self._ramps.get(key) or self._new_ramp(tile)
        if tile.saves:
            self._ramps[key] = ramp
        return ramp

    def _new_ramp(self, tile: Tile) -> Ramp:
        span_NI1 = self._span_NM[tile.sequences, tile.queries].unsqueeze(-1)
        distance_NIX = span_NI1.floor() + self._step_X
        above_NIX = (self._ramp + span_NI1).sub(distance_NIX)
        column_NIX = distance_NIX.neg_().add_(self._window - 1)
        on_NIX = (above_NIX >= 0).logical_and_(column_NIX >= 0)
        # Only the nearest can be within the span.
        on_NIX[..., 0].logical_and_(above_NIX[..., 0] <= self._ramp)
        mask_NIX = above_NIX.clamp_(0, self._ramp).div_(self._ramp).add_(TINY)
        return Ramp(column_NIX.clamp_(min=0).long(), mask_NIX, on_NIX)

    def _room_for(self, score_NIW: Tensor) -> Tensor:
        """Memory that tiles share: fresh pages would take longer than what is done there."""
        shape = *score_NIW.shape[:2], len(self._distance_E)
        if self._room.numel() < math.prod(shape):
            self._room = score_NIW.new_empty(math.prod(shape))
        return self._room[: math.prod(shape)].view(shape)


def _to_span(d_log: Tensor, distance: Tensor, span: Tensor, ramp: float) -> Tensor:
    """Gradient of spans from those of the mask's logarithms, a distance each."""
    above = ramp + span - distance
    on_ramp = (above >= 0) & (above <= ramp)  # closed: the kinks pass the gradient
    return (d_log * on_ramp / (soft_mask(distance, span, ramp) + TINY)).sum(-1) / ramp
