"""The soft mask that a span lays over a head's attention."""

from __future__ import annotations

import torch
from torch import Tensor

from adaspan.nn.checks import check_above_zero, check_broadcast


def soft_mask(distance: Tensor, span: Tensor, ramp: float) -> Tensor:
    """How much of a key at `distance` a head with `span` sees: m_z(x) = clamp((R + z - x)/R, 0, 1).

    Args:
        distance: x in tokens; the most recent key has x = 0. Any shape, cropped as one likes.
        span: z in tokens, broadcastable against `distance`.
        ramp: R > 0, width of the soft edge, in tokens.

    Returns:
        Mask in [0, 1], float32 or wider: 1 up to x = z, 0 from x = z + R on (equation 5; x is
        distance - 1, as in the public code). At both kinks the gradient passes.

    Raises:
        ValueError: the ramp is not above 0, or distance and span are no tensors whose shapes fit.
    """
    for name, value in (("distance", distance), ("span", span)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name}={value!r}: must be a tensor")
    check_above_zero(ramp=ramp)
    try:
        line = (ramp + at_least_float32(span) - distance) / ramp
    except RuntimeError:
        check_broadcast(distance=distance, span=span)
        raise
    mask = line.detach().clamp(0, 1)
    if not line.requires_grad:
        return mask
    # Whether clamp passes the gradient at its ends differs between versions of torch.
    return torch.where((line >= 0) & (line <= 1), line, mask)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Also where a whole model was turned into bfloat16."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
