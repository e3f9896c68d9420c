"""Numbers as a person reads them."""

import pytest

from adaspan.units import duration, si


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00k"),
        (786_440, "786k"),
        (1_310_720, "1.31M"),
        (12.43e9, "12.4G"),
        (2.5e18, "2.50E"),
    ],
)
def test_a_count_has_three_digits(count: float, text: str) -> None:
    assert si(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.4, "7s"), (61, "1m 01s"), (7260, "2h 01m"), (90_000, "1d 1h")]
)
def test_a_duration_has_two_parts(seconds: float, text: str) -> None:
    assert duration(seconds) == text
