"""How far each token of a short text looks back: dynamic spans as the paper's Figure 5 has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from adaspan.data import Tokens
from adaspan.data.vocabulary import Vocabulary
from adaspan.nn.transformer import Transformer

_CONTEXT = 256  # tokens that are read before
_SHOWN = 100
_SEARCHED = 100_000  # of valid, for a stretch that is prose


@dataclass(frozen=True)
class TokenSpans:
    """Tokens in their order, and their spans.

    Args:
        text: what each token stands for.
        spans: a token's span in each layer, in tokens: means over heads.
    """

    text: Sequence[str]
    spans: Sequence[Sequence[float]]


@torch.no_grad()
def token_spans(model: Transformer, valid: Tokens, vocabulary: Vocabulary) -> TokenSpans:
    """The spans of a model whose spans differ from token to token, on a stretch of valid.

    Args:
        model: in evaluation mode.
        valid: token ids.
        vocabulary: that they are from.
    """
    symbols = [vocabulary.decode([token]) for token in range(len(vocabulary))]
    searched = np.asarray(valid[:_SEARCHED])
    context = min(_CONTEXT, len(searched) // 2)
    shown = min(_SHOWN, len(searched) - context)
    start = context + _most_like_prose(searched[context:], symbols, shown)
    tokens_T = torch.as_tensor(searched[start - context : start + shown].astype(np.int64))
    tokens_1T = tokens_T.to(next(model.parameters()).device).unsqueeze(0)
    caches = model(tokens_1T[:, :context]).caches
    spans = []
    for t in range(context, context + shown):
        output = model(tokens_1T[:, t : t + 1], caches)
        caches = output.caches
        spans.append([span_H.mean().item() for span_H in output.mean_spans])
    return TokenSpans([symbols[token] for token in tokens_T[context:].tolist()], spans)


def _most_like_prose(tokens: np.ndarray, symbols: Sequence[str], length: int) -> int:
    """Where the stretch begins that has most letters and single spaces, at the start of a word."""
    is_letter = np.array([symbol.isalpha() for symbol in symbols])[tokens]
    is_space = np.array([symbol == " " for symbol in symbols])[tokens]
    in_prose = is_letter.copy()
    in_prose[1:] |= is_space[1:] & is_letter[:-1]
    counts = np.concatenate([[0], in_prose.cumsum()])
    within = counts[length:] - counts[:-length]
    begins = np.ones(len(within), dtype=bool)
    begins[1:] = is_letter[1 : len(within)] & ~is_letter[: len(within) - 1]
    return int(np.where(begins, within, -1).argmax())
