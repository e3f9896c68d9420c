"""Pictures and tables of a run for W&B, drawn from its rows of metrics alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageOps

# Sizes in pixels: of a head, and of the margins with the names of layers and heads.
_CELL = (44, 24)
_MARGIN = (64, 24)
_PAPER, _INK = "#f7fbff", "#08306b"


def heatmap(spans: Sequence[tuple[int, int, float]], limit: int) -> Image.Image:
    """Spans as numbers on colours, a row a layer, a column a head.

    The colours are logarithmic, from 0 to `limit` tokens, so that pictures can be compared.

    Args:
        spans: layer, head and span in tokens, sorted, as `head_spans` has them.
        limit: the longest span, in tokens.
    """
    layers, heads = (max(column) + 1 for column in list(zip(*spans, strict=True))[:2])
    spans_LH = np.array([span for _, _, span in spans]).reshape(layers, heads)
    levels_LH = np.log1p(spans_LH) / math.log1p(limit)
    shades = Image.fromarray((255 * levels_LH).astype(np.uint8))
    colours = ImageOps.colorize(shades, black=_PAPER, mid="#6baed6", white=_INK)
    (width, height), (left, top) = _CELL, _MARGIN
    cells = colours.resize((heads * width, layers * height), Image.Resampling.NEAREST)
    picture = Image.new("RGB", (left + cells.width, top + cells.height), "white")
    picture.paste(cells, (left, top))

    draw = ImageDraw.Draw(picture)
    middle_H = left + width * (np.arange(heads) + 0.5)
    middle_L = top + height * (np.arange(layers) + 0.5)
    for head, x in enumerate(middle_H):
        draw.text((x, top / 2), f"head {head}", "black", anchor="mm")
    for layer, y in enumerate(middle_L):
        draw.text((left / 2, y), f"layer {layer}", "black", anchor="mm")
    for layer, head, span in spans:
        colour = _PAPER if levels_LH[layer, head] > 0.5 else _INK
        number = f"{span:.1f}" if span < 100 else f"{span:.0f}"
        draw.text((middle_H[head], middle_L[layer]), number, colour, anchor="mm")
    return picture
