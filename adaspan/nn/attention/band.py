"""The band of one tile: its scores, and a view of it with a column a distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adaspan.nn.attention.constants import INVISIBLE
from adaspan.nn.attention.masks import Mask
from adaspan.nn.attention.tiles import Tile

# Into a part of a tensor torch adds products one by one, which takes longer than small ones do.
_SMALL_PRODUCT = 2**14


class Scores:
    """Scores and their exponentials, a tile at a time.

    Args:
        query_NMK, key_NCK, position_WK: see `banded.py`; queries scaled, positions oldest first.
        mask: None if every key of the window is seen in full.
        missing: first keys, which do not exist.
        tiles: all that will be asked for.
    """

    def __init__(
        self,
        query_NMK: Tensor,
        key_NCK: Tensor,
        position_WK: Tensor | None,
        mask: Mask | None,
        missing: int,
        tiles: list[Tile],
    ) -> None:
        self._query_NMK = query_NMK
        self._key_NCK = key_NCK
        self._position_WK = position_WK
        self._mask = mask
        self._missing = missing
        rows = max(tile.shape[1] for tile in tiles)
        ones = query_NMK.new_ones(rows, rows - 1)
        self._left, self._right = ones.triu(), ones.tril(-1)  # 0 outside the band

    def exponentials_(self, out_NIJ: Tensor, tile: Tile, top_NI1: Tensor | None = None) -> Tensor:
        """Set `out_NIJ` to exp(score - top), 0 outside the band.

        Args:
            out_NIJ: of the tile's shape.
            tile: which.
            top_NI1: largest score of each row, if known.

        Returns:
            top_NI1.
        """
        query_NIK = self._query_NMK[tile.sequences, tile.queries]
        key_NJK = self._key_NCK[tile.sequences, tile.keys]
        band_NIW = band_of(out_NIJ)
        torch.bmm(query_NIK, key_NJK.transpose(1, 2), out=out_NIJ)
        if self._position_WK is not None:
            add_product(band_NIW, query_NIK, self._position_WK.T.expand(len(query_NIK), -1, -1))
        if self._mask is not None:
            self._mask.add_to_(band_NIW, tile)
        absent = max(0, self._missing - tile.queries.start)
        if absent:
            out_NIJ[..., :absent] = INVISIBLE
        if top_NI1 is None:
            top_NI1 = band_NIW.amax(-1, keepdim=True)
        band_NIW.sub_(top_NI1).exp_()
        if self._mask is not None:
            self._mask.leave_out_(band_NIW)
        if absent:
            out_NIJ[..., :absent] = 0
        rows = out_NIJ.shape[1]
        out_NIJ[..., : rows - 1].mul_(self._left[:rows, : rows - 1])
        out_NIJ[..., band_NIW.shape[2] :].mul_(self._right[:rows, : rows - 1])
        return top_NI1


def band_of(tile_NIJ: Tensor) -> Tensor:
    """The band of a contiguous tile as a view (N, I, W)."""
    n, rows, columns = tile_NIJ.shape
    return tile_NIJ.as_strided(
        (n, rows, columns - rows + 1),
        (rows * columns, columns + 1, 1),
        tile_NIJ.storage_offset(),
    )


def dropped(weight_NIJ: Tensor, kept_NIW: Tensor) -> Tensor:
    """A copy of a tile whose band has dropout."""
    weight_NIJ = weight_NIJ.clone()
    band_of(weight_NIJ).mul_(kept_NIW)
    return weight_NIJ


def buffer_for(tiles: list[Tile], like: Tensor) -> Tensor:
    """Room for any one of the tiles: fresh memory for each would cost as much as the products."""
    return like.new_empty(max((math.prod(tile.shape) for tile in tiles), default=0))


def fit_into(buffer: Tensor, tile: Tile) -> Tensor:
    """A tile's part of what `buffer_for` gave."""
    return buffer[: math.prod(tile.shape)].view(tile.shape)


def add_product(target: Tensor, a: Tensor, b: Tensor) -> None:
    """Add `a @ b` in place."""
    if target[0].numel() <= _SMALL_PRODUCT:
        target += torch.bmm(a, b)
    else:
        torch.baddbmm(target, a, b, out=target)
