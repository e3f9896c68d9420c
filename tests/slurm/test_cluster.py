"""What SLURM prints is understood."""

from __future__ import annotations

import math

import pytest

from adaspan.slurm.cluster import minutes


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("30:00", 30),
        ("0:45", 0.75),
        ("12:00:00", 720),
        ("1-12:30:00", 2190),
        ("infinite", math.inf),
    ],
)
def test_time_limits(limit: str, expected: float) -> None:
    assert minutes(limit) == expected
