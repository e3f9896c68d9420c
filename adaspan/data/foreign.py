"""Any text in the alphabet of a model that has learned from another one."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaspan.data.prepared import Tokens
from adaspan.data.vocabulary import Unit, Vocabulary
from adaspan.data.words import UNKNOWN, words_of
from adaspan.errors import UserError

# How many symbols there are at all. One that a model does not know costs as much as if it were
# drawn from these at random.
_SYMBOLS: dict[Unit, int] = {"bytes": 256, "characters": sys.maxunicode + 1}


@dataclass(frozen=True)
class ForeignText:
    """A text as far as a vocabulary has its symbols.

    Args:
        tokens: ids of the symbols that it has, in their order; the others are left out, but for
            words, which are `<unk>` then, if the vocabulary has that.
        unknown: how many others there are.
        nats_each: what each of these costs beside the tokens; None where they are among them.
        is_unknown: of each token, whether it stands for one of these; None if that is not known.
    """

    tokens: Tokens
    unknown: int
    nats_each: float | None
    is_unknown: npt.NDArray[np.bool_] | None = None

    @property
    def left_out(self) -> int:
        """How many are not among the tokens."""
        return 0 if self.nats_each is None else self.unknown


def own_text(
    tokens: Tokens, known: Vocabulary, vocabulary: Vocabulary, unknown: int
) -> ForeignText:
    """A split of the text that a model has learned from.

    Args:
        tokens: ids of `known`.
        known: its vocabulary.
        vocabulary: of the model, the same or one of the same unit.
        unknown: how many of the tokens are `<unk>` for words that `known` has not.
    """
    text = ForeignText(tokens, 0, None)
    if known != vocabulary:
        text = translate(tokens, known, vocabulary)
    if not unknown or UNKNOWN not in vocabulary.symbols:  # then they are left out already
        return text
    is_unknown = text.tokens == vocabulary.symbols.index(UNKNOWN)
    total = text.unknown + unknown
    # The text itself may say <unk>, which is a word like others.
    which = is_unknown if np.count_nonzero(is_unknown) == total else None
    return ForeignText(text.tokens, total, None, which)


def read_foreign(vocabulary: Vocabulary, content: bytes, name: str) -> ForeignText:
    """A text in the alphabet of a vocabulary.

    Args:
        vocabulary: of the model.
        content: the text; UTF-8 where tokens are characters.
        name: of the text, for messages.

    Raises:
        UserError: it is no UTF-8 where it must be, or has not one known symbol.
    """
    if vocabulary.unit == "words":
        text = _read_words(vocabulary, content, name)
    else:
        text = _read_letters(vocabulary, content, name)
    if not len(text.tokens):
        known = f"the {len(vocabulary):,} {vocabulary.unit} that the model knows"
        raise UserError(f"{name}: has none of {known}")
    return text


def _read_letters(vocabulary: Vocabulary, content: bytes, name: str) -> ForeignText:
    symbols = _symbols(vocabulary.unit, content, name)
    token_of_symbol = np.full(_SYMBOLS[vocabulary.unit], -1, np.int64)
    token_of_symbol[list(vocabulary.symbols)] = np.arange(len(vocabulary))
    tokens = token_of_symbol[symbols]
    known = tokens[tokens >= 0].astype(np.min_scalar_type(len(vocabulary)))
    return ForeignText(known, len(tokens) - len(known), math.log(_SYMBOLS[vocabulary.unit]))


def translate(tokens: Tokens, known: Vocabulary, vocabulary: Vocabulary) -> ForeignText:
    """A text whose tokens are numbered by another vocabulary of the same unit.

    Args:
        tokens: ids of `known`.
        known: their vocabulary.
        vocabulary: of the model.
    """
    numbers = {symbol: token for token, symbol in enumerate(vocabulary.symbols)}
    if vocabulary.unit == "words":
        return _as_words(vocabulary, (known.symbols[token] for token in tokens.tolist()))
    table = np.array([numbers.get(symbol, -1) for symbol in known.symbols])
    translated = table[tokens]
    own = translated[translated >= 0].astype(np.min_scalar_type(len(vocabulary)))
    return ForeignText(own, len(tokens) - len(own), math.log(_SYMBOLS[vocabulary.unit]))


def _read_words(vocabulary: Vocabulary, content: bytes, name: str) -> ForeignText:
    """A line break at the end of the text is there whether it is written or not, as in training."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: is no UTF-8 text at byte {error.start}") from None
    # What ends no line is no line: an empty text has no word at all.
    text = text if text.endswith("\n") or not text else f"{text}\n"
    return _as_words(vocabulary, words_of(text))


def _as_words(vocabulary: Vocabulary, words: Iterable[str]) -> ForeignText:
    """Without `<unk>`, a word that is not known is left out, and costs one drawn at random."""
    numbers = {word: token for token, word in enumerate(vocabulary.symbols)}
    tokens = [numbers.get(word, -1) for word in words]
    unknown = tokens.count(-1)
    own = np.array(tokens, np.int64)
    dtype = np.min_scalar_type(len(vocabulary))
    if UNKNOWN not in numbers:
        return ForeignText(own[own >= 0].astype(dtype), unknown, math.log(len(vocabulary)))
    read = np.where(own < 0, numbers[UNKNOWN], own)
    return ForeignText(read.astype(dtype), unknown, None, own < 0)


def _symbols(unit: Unit, content: bytes, name: str) -> npt.NDArray[np.unsignedinteger]:
    if unit == "bytes":
        return np.frombuffer(content, np.uint8)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: is no UTF-8 text at byte {error.start}") from None
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)
