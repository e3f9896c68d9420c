"""Text that comes token by token: whole characters, and where it ends."""

from __future__ import annotations

import pytest

from adaspan.data.text import decoded, first_token, until
from adaspan.data.vocabulary import Vocabulary

BYTES = Vocabulary(tuple(range(256)), "bytes")


def test_a_character_comes_once_it_is_complete() -> None:
    assert list(decoded(BYTES, "aé€".encode(), 0)) == ["a", "", "é", "", "", "€"]


def test_bytes_that_form_no_character_are_left_out_or_marked() -> None:
    assert "".join(decoded(BYTES, "ab€".encode()[:-1], 0)) == "ab", "the end is missing"
    assert "".join(decoded(BYTES, b"a\xffb", 0)) == "a\ufffdb"


def test_characters_come_as_they_are() -> None:
    vocabulary = Vocabulary(tuple(map(ord, "aé€")), "characters")
    assert list(decoded(vocabulary, [2, 0, 1], 0)) == ["€", "a", "é"]


@pytest.mark.parametrize(
    ("stops", "text"),
    [
        ((), "one, two; three"),
        (("; ",), "one, two"),
        (("; th", ","), "one"),
        (("; those", "ee"), "one, two; thr"),
        (("four",), "one, two; three"),
        (("e",), "on"),
    ],
)
@pytest.mark.parametrize("size", [1, 4, 99])
def test_text_ends_before_the_first_stop(stops: tuple[str, ...], text: str, size: int) -> None:
    whole = "one, two; three"
    pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
    assert "".join(until(pieces, stops)) == text


def test_what_cannot_be_a_stop_comes_at_once() -> None:
    assert list(until("ab; c", ["; !"])) == ["a", "b", "", "", "; c", ""]


@pytest.mark.parametrize(("symbols", "first"), [("a\n b", 1), ("ab ", 2), ("ab", 0)])
def test_a_text_without_a_beginning_begins_a_line(symbols: str, first: int) -> None:
    assert first_token(Vocabulary(tuple(map(ord, symbols)), "characters")) == first
