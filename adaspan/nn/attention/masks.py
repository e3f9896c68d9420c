"""The soft mask over the band of scores, and what it passes back to the spans.

Where a head has one span, its mask is the same for every query: one row of logarithms, added to
all. Where each token has its own, only its ramp is computed: of the keys, those nearer are seen in
full, and those beyond are left out. So both cost little beside the scores.
"""

from __future__ import annotations

import math
from typing import Protocol

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


def make_mask(span: Tensor, ramp: float, window: int, edge: int) -> Mask:
    """The mask of a call.

    Args:
        span: z in tokens, (N, 1), or (N, M) if each token has its own.
        ramp: R.
        window: W.
        edge: E; nearer keys are not masked.
    """
    of_class = _MaskOfHeads if span.shape[1] == 1 else _MaskOfTokens
    return of_class(span, ramp, window, edge)


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

    def __init__(self, span_NM: Tensor, ramp: float, window: int, edge: int) -> None:
        self._span_NM = span_NM
        self._ramp = ramp
        self._window = window
        first, device = window - 1, span_NM.device
        self._distance_E = torch.arange(first, first - edge, -1, device=device, dtype=span_NM.dtype)
        # Both ends of the ramp are on it, also where a sum was rounded to them.
        self._step_X = torch.arange(math.floor(ramp) + 3, device=device)
        self._room = self._beyond_NIE = span_NM.new_empty(0)
        self._d_span_NM = torch.zeros_like(span_NM)

    def add_to_(self, score_NIW: Tensor, tile: Tile) -> None:
        span_NI1 = self._span_NM[tile.sequences, tile.queries].unsqueeze(-1)
        self._beyond_NIE = self._room_for(score_NIW)  # 0 and 1
        torch.gt(self._distance_E, self._ramp + span_NI1, out=self._beyond_NIE)
        # Not minus infinity, nor near it: exp takes a hundred times as long where it vanishes.
        score_NIW[..., : len(self._distance_E)].add_(self._beyond_NIE, alpha=math.log(TINY))
        column_NIX, distance_NIX, on_ramp_NIX = self._ramps(span_NI1)
        log_NIX = (soft_mask(distance_NIX, span_NI1, self._ramp) + TINY).log() * on_ramp_NIX
        score_NIW.scatter_add_(-1, column_NIX, log_NIX.to(score_NIW.dtype))

    def leave_out_(self, weight_NIW: Tensor) -> None:
        # Products with weights of 1e-30 would be so small that processors take long over them.
        weight_NIE = weight_NIW[..., : len(self._distance_E)]
        weight_NIE.addcmul_(weight_NIE, self._beyond_NIE, value=-1)

    def take_gradient(self, d_score_NIW: Tensor, tile: Tile) -> None:
        own = tile.sequences, tile.queries
        span_NI1 = self._span_NM[own].unsqueeze(-1)
        column_NIX, distance_NIX, on_ramp_NIX = self._ramps(span_NI1)
        d_log_NIX = d_score_NIW.gather(-1, column_NIX) * on_ramp_NIX
        self._d_span_NM[own] = _to_span(d_log_NIX, distance_NIX, span_NI1, self._ramp)

    def gradient(self) -> Tensor:
        return self._d_span_NM

    def _ramps(self, span_NI1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Columns of the band that may lie on the ramp of each row, their distances, and whether
        they do; where the window ends before, the columns are some others.
        """
        distance_NIX = span_NI1.long() + self._step_X
        within_NIX = distance_NIX < self._window
        column_NIX = (self._window - 1 - distance_NIX).clamp(0, self._window - 1)
        on_ramp_NIX = within_NIX & (distance_NIX <= self._ramp + span_NI1)
        return column_NIX, distance_NIX, on_ramp_NIX

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
