"""What varies, as tables and legends name it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adaspan.config.kinds.registry import GROUPS

# So many are named in a sentence.
_MOST_KEYS = 4


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """The last word of each, or all as they are where two end on the same."""
    short = {key: key.rpartition(".")[2] for key in keys}
    return short if len(set(short.values())) == len(short) else {key: key for key in short}


def brief(varies: Mapping[str, str]) -> str:
    """The first of the values, as overrides, and how many there are beside them."""
    words = [f"{key}={value}" for key, value in varies.items()]
    more = len(words) - _MOST_KEYS
    if more <= 0:
        return " ".join(words)
    return f"{' '.join(words[:_MOST_KEYS])} (and {more} more key{'s' * (more > 1)})"


def in_short(varies: Mapping[str, str]) -> str:
    """Values as a legend names them."""
    short = short_keys(varies)
    return ", ".join(
        value if key in GROUPS else f"{short[key]} {readable(value)}"
        for key, value in varies.items()
    )


def readable(value: str) -> str:
    """A number with four digits where it has more of them."""
    try:
        rounded = f"{float(value):.4g}"
    except ValueError:
        return value
    return min(value, rounded, key=len)


def by_number(value: str) -> tuple[float, str]:
    """To sort by: numbers by their size, after words and what is missing."""
    try:
        return float(value), ""
    except ValueError:
        return float("-inf"), value
