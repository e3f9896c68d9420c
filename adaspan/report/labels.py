"""What varies, as tables and legends name it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adaspan.config.kinds.registry import GROUPS


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """The last word of each, or all as they are where two end on the same."""
    short = {key: key.rpartition(".")[2] for key in keys}
    return short if len(set(short.values())) == len(short) else {key: key for key in short}


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
