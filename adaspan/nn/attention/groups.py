"""Which heads of a layer share a window, so that little is computed that no head asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from adaspan.nn.span import reach, within


class Group(NamedTuple):
    """Heads whose attention is computed with one window."""

    heads: tuple[int, ...]
    window: int  # past keys that the farthest-seeing of them reaches
    unmasked: int  # the nearest keys, which all of them see in full
    windows: tuple[int, ...] = ()  # of each by itself, where all are computed at once; or empty

    def window_of_each(self) -> tuple[int, ...]:
        """Past keys that each head is computed with, if by itself."""
        return self.windows or (self.window,) * len(self.heads)


def group_heads(
    longest: Sequence[float],
    limit: int,
    ramp: float | None,
    cost: float | None,
    shortest: Sequence[float] | None = None,
) -> tuple[Group, ...]:
    """Groups of a layer's heads, the one with the longest window first.

    Args:
        longest: every head's z; the largest of them if each token has its own.
        limit: S.
        ramp: R; None: no mask, each head ends at its z, a whole number.
        cost: overhead of a group, see `implementation.GroupCost`; None puts all heads into one
            group, with the window of the one that sees farthest.
        shortest: every head's smallest z; None: the same.

    Raises:
        ValueError: a span is not within 0 and S.
    """
    everyone = tuple(range(len(longest)))
    if ramp is None:  # without a mask only heads of the same window can share it
        windows = [min(limit, int(span)) for span in longest]
        return tuple(
            Group(tuple(h for h in everyone if windows[h] == window), window, unmasked=window)
            for window in sorted(set(windows), reverse=True)
        )
    shortest = longest if shortest is None else shortest
    reaches = tuple(reach(span, limit, ramp) for span in longest)
    sets = _cheapest(reaches, cost) if cost is not None else (everyone,)
    return tuple(
        Group(
            members,
            max(reaches[h] for h in members),
            min(_unmasked(shortest[h], limit) for h in members),
            reaches if cost is None else (),
        )
        for members in sets
    )


def _unmasked(span: float, limit: int) -> int:
    return math.ceil(within(span, limit)) if math.isfinite(span) else 0


@lru_cache(maxsize=1024)
def _cheapest(windows: tuple[int, ...], group_cost: float) -> tuple[tuple[int, ...], ...]:
    """The cut of the heads, sorted by window, that costs least; the longest windows first."""
    order = sorted(range(len(windows)), key=lambda h: windows[h])
    cost, cut = [0.0], [0]  # of the first 0, 1, 2, ... heads: the least cost, where its last cut is
    for end in range(1, len(order) + 1):
        longest = windows[order[end - 1]]
        least, start = min(
            (cost[start] + group_cost + (end - start) * longest, start) for start in range(end)
        )
        cost.append(least)
        cut.append(start)
    groups, end = [], len(order)
    while end:
        groups.append(tuple(sorted(order[cut[end] : end])))
        end = cut[end]
    return tuple(groups)
