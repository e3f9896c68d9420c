"""How exactly a GPU multiplies float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def comes_rounded(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether products of tensors that had this dtype may be of TensorFloat-32, many times faster.

    It has ten bits of mantissa, bfloat16 seven: nothing of what was bfloat16 is lost.
    """
    return device.type == "cuda" and dtype == torch.bfloat16


@contextmanager
def tensor_float_32(allowed: bool) -> Iterator[None]:
    """Let float32 products inside the block round their factors, if that is allowed."""
    if not allowed:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
