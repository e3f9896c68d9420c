"""What W&B shows of spans, drawn from a row of metrics."""

from __future__ import annotations

import numpy as np

from adaspan.runs.figures.rows import head_spans
from adaspan.tracking.media import heatmap


def row(layers: int, heads: int) -> dict[str, float]:
    """Spans of 1, 2, 3, ... tokens, in the order of the heads."""
    return {
        "step": 3,
        "span/mean": 2.0,
        **{
            f"span/layer_{layer:02d}/head_{head}": 1.0 + layer * heads + head
            for layer in range(layers)
            for head in range(heads)
        },
    }


def test_the_longer_a_span_the_darker_its_place_in_the_heatmap() -> None:
    lightness = np.asarray(heatmap(head_spans(row(layers=3, heads=2)), limit=6).convert("L"))
    left, top, width, height = 64, 24, 44, 24
    corners = lightness[top + 1 :: height, left + 1 :: width].astype(int).flatten()
    assert len(corners) == 6
    assert (np.diff(corners) < 0).all()


def test_the_colour_of_a_span_does_not_depend_on_the_other_heads() -> None:
    low, high = (
        heatmap([(0, 0, 8.0), (0, 1, other)], limit=100).getpixel((65, 25)) for other in (1.0, 99.0)
    )
    assert low == high
