"""The plots of a comparison as pictures, for papers and slides."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import kaleido
import plotly.graph_objects as go
from choreographer.errors import BrowserFailedError, ChromeNotFoundError

from adaspan.errors import UserError

# In points of a picture; it has SCALE times as many pixels.
_SIZE = {"width": 760, "height": 500}
_WIDE = {"width": 1140, "height": 420}
_SIZES = {"span_limits": _WIDE, "parameters": _WIDE, "spans": {}}  # spans know their own
SCALE = 2


def write_pictures(plots: Mapping[str, go.Figure], folder: Path) -> list[Path]:
    """Write a PNG a plot, with one start of a browser for all.

    Args:
        plots: by name.
        folder: for the files, which are named after the plots.

    Raises:
        UserError: there is nothing to draw, or no browser to draw with.
    """
    if not plots:
        raise UserError("--format png: no run has anything to plot yet")
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.png" for name in plots}
    pictures = [
        {
            "fig": {**figure.to_dict(), "config": {"plotGlPixelRatio": 1}},  # lines one such wide
            "path": paths[name],
            "opts": {"format": "png", "scale": SCALE, **_SIZES.get(name, _SIZE)},
        }
        for name, figure in plots.items()
    ]
    # It takes the browser's last word, which is no JSON, for an error.
    logging.getLogger("choreographer").setLevel(logging.CRITICAL)
    try:
        # MathJax would come from the network.
        kaleido.write_fig_from_object_sync(pictures, cancel_on_error=True, kopts={"mathjax": False})
    except (ChromeNotFoundError, BrowserFailedError):
        raise UserError(
            "--format png: no Chrome or Chromium here that can draw; install one (Debian, Ubuntu: "
            "apt-get install chromium), or name it in the variable BROWSER_PATH"
        ) from None
    return list(paths.values())
