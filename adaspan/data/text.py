"""Text that comes token by token, while it is being written."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence

from adaspan.data.vocabulary import Vocabulary
from adaspan.data.words import EOS, spaced


def decoded(vocabulary: Vocabulary, tokens: Iterable[int], after: int) -> Iterator[str]:
    """The text of each token as it comes, as a continuation of the token `after`: a word has a
    space before it unless it begins a line.

    Bytes of a character that is not complete yet wait for the rest of it, and are left out if the
    text ends before; bytes that can be no character become U+FFFD.
    """
    if vocabulary.unit == "words":
        yield from spaced(
            (vocabulary.symbols[token] for token in tokens), vocabulary.symbols[after]
        )
        return
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        yield decoder.decode(vocabulary.decode_bytes([token]))


def until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The text before the first of `stops`. What may be the beginning of one waits for the rest."""
    waiting = ""
    for piece in pieces:
        waiting += piece
        places = [waiting.find(stop) for stop in stops if stop in waiting]
        if places:
            yield waiting[: min(places)]
            return
        safe = len(waiting) - max((_begun(waiting, stop) for stop in stops), default=0)
        yield waiting[:safe]
        waiting = waiting[safe:]
    yield waiting


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text may be the beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


def first_token(vocabulary: Vocabulary) -> int:
    """What a text without a beginning continues: a line break, else a space, else the first token.

    A prediction needs a token before it, and most texts begin after one of these.
    """
    for symbol in (*map(ord, "\n "), EOS):
        if symbol in vocabulary.symbols:
            return vocabulary.symbols.index(symbol)
    return 0
