"""The plots of a comparison as PNG files, for papers and slides."""

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
_SIZES = {
    "recall": _WIDE,
    "span_limits": _WIDE,
    "parameters": _WIDE,
    "token_spans": _WIDE,
    "spans": {},
}  # spans know their own
SCALE = 2


def write_pictures(plots: Mapping[str, go.Figure], path: Path) -> list[Path]:
    """Write a PNG for each plot, with one start of a browser for all.

    Args:
        plots: by name.
        path: folder for the files, which are named after the plots.

    Raises:
        UserError: there is nothing to draw, or no browser to draw with.
    """
    if not plots:
        raise UserError("--format png: no run has anything to plot yet")
    path.mkdir(parents=True, exist_ok=True)
    paths = {name: path / f"{name}.png" for name in plots}
    pictures = [
        {
            "fig": {**figure.to_dict(), "config": {"plotGlPixelRatio": 1}},  # lines one such wide
            "path": paths[name],
            "opts": {"format": "png", "scale": SCALE, **_SIZES.get(name, _SIZE)},
        }
        for name, figure in plots.items()
    ]
    # It reports the browser's last message, which is no JSON, as an error.
    logging.getLogger("choreographer").setLevel(logging.CRITICAL)
    try:
        # MathJax would come from the network.
        kaleido.write_fig_from_object_sync(pictures, cancel_on_error=True, kopts={"mathjax": False})
    except (ChromeNotFoundError, BrowserFailedError):
        raise UserError(
            "--format png: no Chrome or Chromium here that can draw; install one (Debian, Ubuntu: "
            "apt-get install chromium), or set the variable BROWSER_PATH to one"
        ) from None
    return list(paths.values())
