"""A text in the alphabet of a model that has learned from another one."""

from __future__ import annotations

import math

import pytest

from adaspan.data.foreign import read_foreign
from adaspan.data.vocabulary import Vocabulary
from adaspan.errors import UserError


def test_known_symbols_keep_their_order_and_the_others_are_counted() -> None:
    text = read_foreign(Vocabulary(tuple(b"cab"), "bytes"), b"abcXbYa", "text")
    assert (text.tokens.tolist(), text.unknown) == ([1, 2, 0, 2, 1], 2)
    assert text.nats_each == pytest.approx(math.log(256))


def test_a_character_is_one_symbol() -> None:
    text = read_foreign(Vocabulary(tuple(map(ord, "é€")), "characters"), "aé€é".encode(), "text")
    assert (text.tokens.tolist(), text.unknown) == ([0, 1, 0], 1)


def test_what_cannot_be_read_is_named() -> None:
    characters = Vocabulary((ord("a"),), "characters")
    for content, told in ((b"a\xff", "text: is no UTF-8 text at byte 1"), (b"b", "text: has none")):
        with pytest.raises(UserError, match=told):
            read_foreign(characters, content, "text")


@pytest.mark.parametrize(("symbols", "content"), [(("<eos>", "<unk>"), b""), (("so",), b"it is")])
def test_a_text_without_a_word_is_not_scored(symbols: tuple[str, ...], content: bytes) -> None:
    words = Vocabulary(symbols, "words")
    with pytest.raises(UserError, match=f"text: has none of the {len(symbols)} words that the"):
        read_foreign(words, content, "text")
