"""Wrong shapes and values, refused in one line: what was wanted, what was got.

In a step no number is read out of a tensor: a GPU would have to wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

import torch
from torch import Tensor


class ContractError(ValueError):
    """A span or an attention of a user's own gives something else than it must."""


class Shapes:
    """Checks shapes by their letters. A letter has the size of the first tensor that has it.

    Args:
        sizes: of letters that are known beforehand.
    """

    def __init__(self, **sizes: int) -> None:
        self._sizes = {"1": 1, **sizes}

    def check(self, name: str, tensor: object, *letters: str) -> None:
        """Refuse what is no tensor, or whose shape is none of `letters`, such as "BMD" or "H1".

        Raises:
            ValueError: names the wanted shape and the one that was got.
        """
        if not isinstance(tensor, Tensor):
            shapes, kind = self._wanted(letters), type(tensor).__name__
            raise ValueError(f"{name}: must be a tensor of shape {shapes}, is a {kind}")
        shape = tensor.shape
        for wanted in letters:
            sizes = self._sizes.copy()
            if len(wanted) == len(shape) and all(
                sizes.setdefault(letter, size) == size
                for letter, size in zip(wanted, shape, strict=True)
            ):
                self._sizes = sizes
                return
        raise ValueError(f"{name}: must have shape {self._wanted(letters)}, has {tuple(shape)}")

    def _wanted(self, letters: Sequence[str]) -> str:
        return " or ".join(f"({', '.join(map(self._in_words, wanted))})" for wanted in letters)

    def _in_words(self, letter: str) -> str:
        known = not letter.isdigit() and letter in self._sizes
        return f"{letter}={self._sizes[letter]}" if known else letter


def check_tokens(name: str, tokens: Tensor) -> None:
    """Refuse what cannot be token ids, by its type, or holds none."""
    if 0 in tokens.shape:
        raise ValueError(f"{name}: must not be empty, has shape {tuple(tokens.shape)}")
    if tokens.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{name}: must be int64 or int32, is {tokens.dtype}")


def check_ids(name: str, tokens: Tensor, count: int) -> None:
    """Refuse ids that are not those of `count` tokens. Waits for the device."""
    for token in tokens.aminmax():
        check_index(count, **{name.removesuffix("s"): int(token)})


def check_floats(**tensors: Tensor) -> None:
    """Refuse whole numbers, of which there is no gradient."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ValueError(f"{name}: must be floating point, is {tensor.dtype}")


def check_device(name: str, tensor: Tensor, wanted: torch.device) -> None:
    """Refuse a tensor that is somewhere else than what it meets."""
    if tensor.device != wanted:
        raise ValueError(f"{name}: must be on {wanted}, is on {tensor.device}")


def check_joins(name: str, tensor: Tensor, other: Tensor) -> None:
    """Refuse a tensor whose type or device is another than that of what it is joined with.

    Under autocast types may differ.
    """
    check_device(name, tensor, other.device)
    check_floats(**{name: tensor})
    if tensor.dtype != other.dtype and not torch.is_autocast_enabled(other.device.type):
        raise ValueError(f"{name}: must be {other.dtype}, is {tensor.dtype}")


def check_broadcast(**tensors: Tensor) -> None:
    """Refuse tensors whose shapes do not broadcast."""
    shapes = [tuple(tensor.shape) for tensor in tensors.values()]
    try:
        torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
    except RuntimeError:
        named = ", ".join(f"{name} {shape}" for name, shape in zip(tensors, shapes, strict=True))
        raise ValueError(f"shapes must broadcast: {named}") from None


def check_span(span: Tensor, shapes: Shapes) -> None:
    """Refuse spans z that are neither one per head nor one per head and token, or too coarse."""
    shapes.check("span", span, "H1", "BHM")
    if span.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"span: must be float32 or float64, is {span.dtype}")


def check_span_values(span: Tensor) -> None:
    """Refuse spans z below 0, infinite ones and NaN; a GPU's are not looked at."""
    # Nor where a model is compiled: its graph would be broken in two.
    if span.device.type == "cpu" and not torch.compiler.is_compiling():
        for value in span.detach().aminmax():
            check_at_least(0, span=float(value))


def check_heads(dim: int, heads: int) -> None:
    """Refuse heads that do not divide the width."""
    check_counts(dim=dim, heads=heads)
    if dim % heads:
        raise ValueError(f"dim={dim}: must be divisible by heads={heads}")


def check_counts(least: int = 1, **values: int) -> None:
    """Refuse what is not a whole number from `least` on."""
    for name, value in values.items():
        if not _is_whole(value) or value < least:
            raise ValueError(f"{name}={value!r}: must be a whole number, at least {least}")


def check_index(count: int, **values: int) -> None:
    """Refuse what does not number one of `count` things."""
    for name, value in values.items():
        if not _is_whole(value) or not 0 <= value < count:
            raise ValueError(f"{name}={value!r}: must be 0 to {count - 1}")


def check_above_zero(**values: float) -> None:
    """Refuse zero, negative numbers, infinity and NaN."""
    for name, value in values.items():
        if not isinstance(value, Real) or not 0 < value < math.inf:
            raise ValueError(f"{name}={value!r}: must be a finite number above 0")


def check_at_least(least: float, **values: float) -> None:
    """Refuse smaller numbers, infinity and NaN."""
    for name, value in values.items():
        if not isinstance(value, Real) or not least <= value < math.inf:
            raise ValueError(f"{name}={value!r}: must be a finite number, at least {least:g}")


def check_finite(**values: float) -> None:
    """Refuse infinity and NaN."""
    for name, value in values.items():
        if not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(f"{name}={value!r}: must be a finite number")


def check_fraction(**values: float) -> None:
    """Refuse a part that is not in [0, 1]."""
    for name, value in values.items():
        if not isinstance(value, Real) or not 0 <= value <= 1:
            raise ValueError(f"{name}={value!r}: must be between 0 and 1")


def check_probability(**values: float) -> None:
    """Refuse a probability that is not in [0, 1)."""
    for name, value in values.items():
        if not isinstance(value, Real) or not 0 <= value < 1:
            raise ValueError(f"{name}={value!r}: must be at least 0 and below 1")


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
