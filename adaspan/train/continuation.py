"""A place of a text, and how the model would go on there, beside what really came next."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from adaspan.data import Tokens
from adaspan.data.text import decoded, first_token
from adaspan.data.vocabulary import Vocabulary
from adaspan.nn.transformer import Transformer
from adaspan.train.device import threads_for_one_token

_TOKENS = 120
_WIDTH = 60  # shown, in characters
_TEMPERATURE = 0.5  # a little below what it has learned: fewer slips, and still no loops


def continuation_lines(
    model: Transformer, vocabulary: Vocabulary, text: Tokens, seed: int
) -> list[str]:
    """Three lines: the middle of the text, what the model writes there, and what stands there.

    Args:
        model: that writes.
        vocabulary: of the text.
        text: one that it has not learned from.
        seed: of what it writes.
    """
    middle = max(1, len(text) // 2)
    before = text[max(0, middle - model.receptive_field() - 1) : middle].astype(np.int64)
    written = model.generate(torch.from_numpy(before), _TOKENS, temperature=_TEMPERATURE, seed=seed)
    given = _line(vocabulary, text[max(0, middle - _TOKENS) : middle].tolist())
    with threads_for_one_token(model):
        invented = _line(vocabulary, written)
    return [
        f"text    …{given[-_WIDTH:]}",
        f"model   {invented[:_WIDTH]}",
        f"really  {_line(vocabulary, text[middle : middle + _TOKENS].tolist())[:_WIDTH]}",
    ]


def _line(vocabulary: Vocabulary, tokens: Iterable[int]) -> str:
    """Text on one line: white space of any kind and length is one space."""
    text = "".join(decoded(vocabulary, tokens, first_token(vocabulary)))
    text = text.lstrip("\ufffd")  # cut within a character
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
