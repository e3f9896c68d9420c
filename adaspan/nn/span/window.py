"""How far attention must look for a span, and how much of the past to keep for it."""

from __future__ import annotations

import math

# As a part of the limit: how far out of it rounding may lead a span.
ROUNDING = 1e-4
# A cache is kept this much longer than today's spans reach, so that spans have room to grow, and
# its length is rounded up to a multiple, so that it seldom changes.
_CACHE_BUFFER = 64


class SpanRangeError(ValueError):
    """A span is out of its range."""

    def __init__(self, span: float, limit: int) -> None:
        self.refusal = f"span={span:g}: must be 0 to {limit}"
        super().__init__(
            f"{self.refusal}; clamp_spans_(), to be called after each update, has the span's "
            "clamp_() bring it back"
        )


def within(span: float, limit: int) -> float:
    """A span put back into [0, S], where rounding alone has led out of it.

    Raises:
        SpanRangeError: it is farther out.
    """
    if not -ROUNDING * limit <= span <= limit + ROUNDING * limit:
        raise SpanRangeError(span, limit)
    return min(max(span, 0.0), limit)


def reach(longest: float, limit: int, ramp: float) -> int:
    """Past keys that a span of `longest` tokens can see: x = 0 ... floor(z + R), S at the most.

    Raises:
        SpanRangeError: the span is not within 0 and S.
    """
    if not math.isfinite(longest):  # the run has diverged, which its loss is about to say
        return limit
    return min(limit, math.floor(within(longest, limit) + ramp) + 1)


def cache_length(reach: int, limit: int) -> int:
    """Past hidden states worth keeping for a layer of this reach: some buffer, S at the most."""
    return min(limit, math.ceil(reach / _CACHE_BUFFER + 1) * _CACHE_BUFFER)
