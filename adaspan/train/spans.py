"""Spans that would be wrong in silence, as those of a user's own kind may be, are looked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from adaspan.errors import KindError
from adaspan.nn.span import ROUNDING, Span
from adaspan.nn.transformer import Transformer


@torch.no_grad()
def check_spans(model: Transformer, hidden: Sequence[Tensor], *, learned: bool) -> None:
    """Refuse spans that are out of their range or that attention does not see whole. Waits for the
    device once.

    Args:
        model: with the spans as they are now.
        hidden: hidden states (B, M, D) that each layer may get.
        learned: whether an update has changed the spans.

    Raises:
        KindError: names the class, the method, the value and the layer.
    """
    device = hidden[0].device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        extremes = {
            layer: _extremes(span, model.spans[layer].current())
            for layer, span in enumerate(model.spans_for(hidden))
            if span is not None
        }
    if extremes:
        numbers = torch.stack([*extremes.values()]).tolist()
        for layer, of_layer in zip(extremes, numbers, strict=True):
            _refuse(model.spans[layer], layer, _Extremes(*of_layer), learned)


class _Extremes(NamedTuple):
    """Of the spans of a layer, in tokens."""

    least: float
    greatest: float
    least_current: float
    greatest_current: float
    longest: float  # of the head that is seen least of
    seen: float  # of that head


def _extremes(span: Tensor, current_H: Tensor | None) -> Tensor:
    """The numbers of `_Extremes`. Of spans that are not known beforehand all is seen."""
    longest_H = span.transpose(0, -2).flatten(1).amax(-1)
    seen_H = longest_H if current_H is None else current_H
    head = (longest_H - seen_H).argmax()
    ends = span.amin(), longest_H.amax(), seen_H.amin(), seen_H.amax()
    return torch.stack([*ends, longest_H[head], seen_H[head]])


def _refuse(span: Span, layer: int, extremes: _Extremes, learned: bool) -> None:
    of_class, rounding = type(span).__name__, ROUNDING * span.limit
    for method, value in (
        ("forward", extremes.least),
        ("forward", extremes.greatest),
        ("current", extremes.least_current),
        ("current", extremes.greatest_current),
    ):
        # One that is no number makes a loss that is none, which is told with its learning rate.
        if not (math.isnan(value) or -rounding <= value <= span.limit + rounding):
            given = f"{of_class}.{method}: gives a span of {value:g} tokens in layer {layer}"
            if not learned:
                raise KindError(f"{given} at the start; must be 0 to {span.limit}")
            if not span.clamps:
                raise KindError(
                    f"{given}; {of_class} has no clamp_() that brings it back into 0 to "
                    f"{span.limit} after each update"
                )
            raise KindError(
                f"{given}; clamp_() must bring it back into 0 to {span.limit} after each update"
            )
    if extremes.longest > extremes.seen + rounding:
        raise KindError(
            f"{of_class}.current: gives {extremes.seen:g} tokens in layer {layer}, forward "
            f"{extremes.longest:g}; current() must be at least what forward() returns; attention "
            "ignores keys beyond it"
        )
