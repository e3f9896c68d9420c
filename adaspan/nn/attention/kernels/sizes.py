"""How large the tiles of each kernel are: a table, for what is tried out at run time varies, and
with it the order of sums.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Size(NamedTuple):
    """Of one kernel."""

    columns: int  # keys or distances of a tile; its queries are always as many
    warps: int
    stages: int  # loads that are under way at once


class Sizes(NamedTuple):
    """Of all kernels."""

    position_scores: Size
    attend: Size
    query_gradient: Size
    query_gradient_by_position: Size
    key_gradient: Size
    position_gradient: Size


# Registers for more would not do, by what the compiler says of each kernel.
_NARROW = Sizes(  # measured, on an H200, heads of 64
    position_scores=Size(64, 4, 3),
    attend=Size(32, 4, 3),
    query_gradient=Size(32, 4, 3),
    query_gradient_by_position=Size(64, 4, 3),
    key_gradient=Size(64, 4, 3),
    position_gradient=Size(64, 4, 3),
)
_NARROW_BEFORE_HOPPER = _NARROW._replace(key_gradient=Size(32, 4, 3))
_WIDE = Sizes(
    position_scores=Size(32, 4, 2),
    attend=Size(32, 4, 2),
    query_gradient=Size(32, 8, 2),
    query_gradient_by_position=Size(64, 8, 2),
    key_gradient=Size(32, 8, 2),
    position_gradient=Size(64, 8, 2),
)
_FLOAT32 = Sizes(
    position_scores=Size(32, 4, 2),
    attend=Size(32, 4, 2),
    query_gradient=Size(32, 8, 2),
    query_gradient_by_position=Size(32, 4, 2),
    key_gradient=Size(32, 8, 2),
    position_gradient=Size(32, 4, 2),
)
_WIDE_FLOAT32 = Sizes(
    position_scores=Size(32, 8, 2),
    attend=Size(16, 8, 2),
    query_gradient=Size(16, 8, 2),
    query_gradient_by_position=Size(32, 8, 2),
    key_gradient=Size(16, 8, 2),
    position_gradient=Size(32, 8, 2),
)


def sizes_for(head_dim: int, dtype: torch.dtype, capability: tuple[int, int]) -> Sizes:
    """What suits a GPU.

    Args:
        head_dim: K.
        dtype: of the products' factors.
        capability: compute capability of the GPU.
    """
    if dtype == torch.float32:
        return _FLOAT32 if head_dim <= 64 else _WIDE_FLOAT32
    if head_dim > 64:
        return _WIDE
    return _NARROW if capability >= (9, 0) else _NARROW_BEFORE_HOPPER
