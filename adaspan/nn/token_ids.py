"""Ids of tokens, as a caller gives them: refused in one line if they are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from adaspan.nn.checks import Shapes, check_device, check_ids, check_tokens


def ids_of(tokens: Sequence[int] | Tensor, vocabulary_size: int) -> Tensor:
    """Ids of the tokens of a text (T,), on the CPU.

    Raises:
        ValueError: they are no ids, or out of their range.
    """
    try:
        tokens_T = torch.as_tensor(tokens).cpu()
    except (TypeError, ValueError, RuntimeError):
        kind = type(tokens).__name__
        raise ValueError(
            f"tokens: must be token ids, is a {kind}; a vocabulary's encode(text) gives them"
        ) from None
    Shapes().check("tokens", tokens_T, "T")
    check_tokens("tokens", tokens_T)
    check_ids("tokens", tokens_T, vocabulary_size)
    return tokens_T


def check_blocks(device: torch.device, **blocks: Tensor | None) -> None:
    """Refuse blocks (B, M) of ids of another shape, type or device. Looks at no id.

    Raises:
        ValueError: names the block.
    """
    shapes = Shapes()
    for name, tokens_BM in blocks.items():
        if tokens_BM is not None:
            shapes.check(name, tokens_BM, "BM")
            check_tokens(name, tokens_BM)
            check_device(name, tokens_BM, device)


@contextmanager
def id_errors_as_one_line(name: str, tokens: Tensor, vocabulary_size: int) -> Iterator[None]:
    """Name the id of which there is no token. Until it is missed, no id is looked at."""
    try:
        yield
    except (IndexError, RuntimeError):
        if tokens.device.type == "cpu":
            check_ids(name, tokens, vocabulary_size)
        raise
