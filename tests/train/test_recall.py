"""Spans are learned as far as context is worth something, where a gradient can reach it.

The next symbol is the one k back with probability 0.8, else any of 8: a head must reach the token
k - 1 back, and what lies further is worth nothing (tests/data/test_recall.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from adaspan.runs.figures import Row
from adaspan.runs.figures.rows import head_spans
from adaspan.runs.folder import RunFolder
from tests.processes import train_here

CHANCE = math.log2(8)
ENTROPY = 1.16

pytestmark = pytest.mark.slow


@pytest.fixture
def result(
    tmp_path: Path, run_folder: Callable[[], Path]
) -> Callable[..., tuple[Row, list[float]]]:
    """The last row of a run, and the spans of its heads then, the longest last."""

    def trained(*overrides: str) -> tuple[Row, list[float]]:
        places = f"data_dir={tmp_path}", f"output_dir={tmp_path / 'runs'}"
        train_here("experiment=recall", *places, *overrides)
        rows = RunFolder(run_folder()).rows()
        spans = next(spans for row in reversed(rows) if (spans := head_spans(row)))
        return rows[-1], sorted(span for _, _, span in spans)

    return trained


@pytest.mark.parametrize("distance", [48, 96])
def test_from_the_limit_one_head_ends_where_the_farthest_needed_key_is(
    distance: int, result: Callable[..., tuple[Row, list[float]]]
) -> None:
    row, spans = result(f"data.distances=[{distance}]")
    assert row["final/valid_bpc"] == pytest.approx(ENTROPY, abs=0.04)
    assert row["span/reach"] == pytest.approx(distance - 1, abs=2)
    assert spans[0] < spans[-1] / 2, "heads that nothing needs grow short"


def test_with_a_limit_below_the_distance_it_stays_at_chance(
    result: Callable[..., tuple[Row, list[float]]],
) -> None:
    row, _ = result("span.limit=32")
    assert row["final/valid_bpc"] == pytest.approx(CHANCE, abs=0.02)


def test_from_zero_a_span_does_not_grow_across_a_gap_that_is_longer_than_the_ramp(
    result: Callable[..., tuple[Row, list[float]]],
) -> None:
    row, _ = result("span.initial_fraction=0")
    assert row["final/valid_bpc"] == pytest.approx(CHANCE, abs=0.02)
    assert row["span/reach"] < 47 - 2


def test_from_zero_the_ramp_alone_reaches_what_lies_within_it(
    result: Callable[..., tuple[Row, list[float]]],
) -> None:
    row, _ = result("data.distances=[16]", "span.ramp=16", "span.initial_fraction=0")
    assert row["final/valid_bpc"] == pytest.approx(ENTROPY, abs=0.04)
