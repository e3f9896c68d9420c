"""Numbers as a person reads them."""

from __future__ import annotations

import math


def si(count: float) -> str:
    """A count with three digits and the letter of its magnitude."""
    for factor, letter in (
        (1e18, "E"),
        (1e15, "P"),
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
    ):
        if count >= factor:
            digits = 2 - int(math.log10(count / factor))
            return f"{count / factor:.{max(0, digits)}f}{letter}"
    return f"{count:.0f}"


def duration(seconds: float) -> str:
    """Seconds as days, hours and minutes, the two that matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"
