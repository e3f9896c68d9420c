"""How attention is computed: `train.attention=NAME`. See `adaspan.nn.attention`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adaspan.config.kinds.registry import register

if TYPE_CHECKING:
    from adaspan.nn.attention import Implementation


@register("attention", "banded")
def banded() -> Implementation:
    """Only the band that the spans reach."""
    from adaspan.nn.attention import IMPLEMENTATIONS

    return IMPLEMENTATIONS["banded"]


@register("attention", "triton")
def triton() -> Implementation:
    """Kernels for a GPU, each head as far as its own span reaches."""
    from adaspan.nn.attention import IMPLEMENTATIONS

    return IMPLEMENTATIONS["triton"]


@register("attention", "reference")
def reference() -> Implementation:
    """The formula as printed, dense and slow."""
    from adaspan.nn.attention import IMPLEMENTATIONS

    return IMPLEMENTATIONS["reference"]
