"""Attention by Triton kernels, for a GPU: each head is computed as far as its own spans reach.

- `shared.py` says how scores lie in memory, and has what several kernels need.
- `forward.py`, `backward.py` are the kernels; `sizes.py` says how large their tiles are.
- `function.py` starts them, and makes them one differentiable function.

Triton is imported when the first of them starts: a machine without it lacks nothing else.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from adaspan.nn.attention.row import attend_row
from adaspan.nn.eager import eager

WIDEST_HEAD = 128
# Queries of a tile; windows are computed in tiles as wide.
TILE = 64
# Bytes a block, of heads 128 wide in float32.
_ROOM_FOR_WIDE_HEADS = 120 * 1024
_TYPES = (torch.float32, torch.bfloat16, torch.float16)


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


@cache
def _lacks(device: torch.device, head_dim: int) -> str | None:
    """What a GPU does."""
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "needs a GPU of compute capability 8.0, an A100 or later"
    from triton.runtime import driver

    room = driver.active.utils.get_device_properties(device.index or 0)["max_shared_mem"]
    if head_dim > 64 and room < _ROOM_FOR_WIDE_HEADS:
        return "heads may be 64 wide at most on this GPU, which has little shared memory"
    return None


def unfit(device: torch.device, head_dim: int) -> str | None:
    """See `implementation.Unfit`."""
    if not _has_triton():
        return "needs the package triton"
    if head_dim > WIDEST_HEAD:
        return f"heads may be {WIDEST_HEAD} wide at most, are {head_dim}"
    from triton import knobs

    if knobs.runtime.interpret:
        return None
    if device.type != "cuda":
        return f"needs a GPU, is on {device.type}"
    return _lacks(device, head_dim)


def attend_kernels(
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
    """See `implementation.Attend`. Sums in float32.

    Raises:
        ValueError: queries in float64.
    """
    block = query_BHMK.shape[2]
    past = key_BHCK.shape[2] - block
    seen = slice(max(0, past - window), past)
    return attend_by_head(
        past_2BHLK=torch.stack([key_BHCK[:, :, seen], value_BHCK[:, :, seen]]),
        query_BHMK=query_BHMK,
        key_BHMK=key_BHCK[:, :, past:],
        value_BHMK=value_BHCK[:, :, past:],
        position_SK=position_SK,
        windows=(window,) * query_BHMK.shape[1],
        span=span,
        ramp=ramp,
        dropout=dropout,
    )


@eager
def attend_by_head(
    *,
    past_2BHLK: Tensor,
    query_BHMK: Tensor,
    key_BHMK: Tensor,
    value_BHMK: Tensor,
    position_SK: Tensor | None,
    windows: tuple[int, ...],
    span: Tensor | None,
    ramp: float | None,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """See `implementation.AttendByHead`.

    Raises:
        ValueError: queries in float64.
    """
    from adaspan.nn.attention.kernels.function import Attention, Settings

    dtype = query_BHMK.dtype
    if dtype not in _TYPES:
        raise ValueError(f"attention=triton: queries must not be {dtype}")
    if query_BHMK.shape[2] == 1 and not dropout and not torch.is_grad_enabled():
        key_BHCK, value_BHCK = torch.cat([past_2BHLK, torch.stack([key_BHMK, value_BHMK])], dim=3)
        return attend_row(
            query_BH1K=query_BHMK,
            key_BHCK=key_BHCK,
            value_BHCK=value_BHCK,
            position_SK=position_SK,
            window=max(windows),
            span=span,
            ramp=ramp,
            unmasked=0,
        )
    if past_2BHLK.shape[3] > max(windows):  # else its gradient would be copied for nothing
        past_2BHLK = past_2BHLK[:, :, :, -max(windows) :]
    precision = "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    output_BHMK, log_sum_BHM = Attention.apply(  # type: ignore[no-untyped-call]
        _in_rows(past_2BHLK.to(dtype)),
        _in_rows(query_BHMK),
        _in_rows(key_BHMK.to(dtype)),
        _in_rows(value_BHMK.to(dtype)),
        position_SK,
        None if span is None else span.float(),
        Settings(windows, ramp, dropout, precision),
    )
    return output_BHMK.to(value_BHMK.dtype), log_sum_BHM


def _in_rows(x: Tensor) -> Tensor:
    """As the kernels read it: the K numbers of a row lie side by side."""
    return x if x.stride(-1) == 1 else x.contiguous()


def kernel_macs(
    *, sequences: int, block: int, keys: int, window: int, head_dim: int, device: torch.device
) -> tuple[int, int]:
    """See `implementation.CountMacs`; windows and blocks are rounded up to whole tiles."""
    window = -(-window // TILE) * TILE
    rows = -(-block // TILE) * TILE
    past = min(keys - block, window)
    # Rows by tiles: the band of distances, and that of keys, which is wider by a tile.
    by_distance = sequences * rows * window * head_dim
    by_key = sequences * rows * (min(past + block, window) + TILE) * head_dim
    return by_distance + 2 * by_key, 2 * by_distance + 7 * by_key
