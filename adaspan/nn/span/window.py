"""How far attention must look for a span, and how much of the past to keep for it."""

from __future__ import annotations

import math

# As a part of the limit: how far out of it rounding may lead a span.
ROUNDING = 1e-4
# A cache is kept this much longer than today's spans reach, so that spans have room to grow, and
# its length is rounded up to a multiple, so that it seldom changes.
_CACHE_BUFFER = 64


def within(span: float, limit: int) -> float:
    """A span put back into [0, S], where rounding alone has led out of it.

    Raises:
        ValueError: it is farther out.
    """
    if not -ROUNDING * limit <= span <= limit + ROUNDING * limit:
        raise ValueError(
            f"span={span:g}: must be 0 to {limit}; call clamp_spans_() after each update, which "
            "calls the span's clamp_()"
        )
    return min(max(span, 0.0), limit)


def reach(longest: float, limit: int, ramp: float) -> int:
    """Past keys that a span of `longest` tokens can see: x = 0 ... floor(z + R), S at the most.

    Raises:
        ValueError: the span is not within 0 and S.
    """
    if not math.isfinite(longest):  # the run has diverged, which its loss is about to say
        return limit
    return min(limit, math.floor(within(longest, limit) + ramp) + 1)


def cache_length(reach: int, limit: int) -> int:
    """Past hidden states worth keeping for a layer of this reach: some buffer, S at the most."""
    return min(limit, math.ceil(reach / _CACHE_BUFFER + 1) * _CACHE_BUFFER)
