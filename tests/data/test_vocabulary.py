"""From text to token ids and back, for bytes and for characters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaspan.data.vocabulary import Vocabulary
from adaspan.errors import RunError

EVERY_BYTE = Vocabulary(tuple(range(256)), "bytes")
LETTERS = Vocabulary(tuple(map(ord, " abcé→")), "characters")


@given(st.binary())
def test_bytes_come_back_as_they_were(content: bytes) -> None:
    assert EVERY_BYTE.decode_bytes(EVERY_BYTE.encode(content)) == content


@given(st.text(alphabet=" abcé→"))
def test_characters_come_back_as_they_were(text: str) -> None:
    tokens = LETTERS.encode(text)
    assert len(tokens) == len(text)
    assert LETTERS.decode(tokens) == text
    assert LETTERS.encode(text.encode()) == tokens
    assert LETTERS.decode_bytes(tokens) == text.encode()


def test_text_becomes_utf8_where_tokens_are_bytes() -> None:
    assert EVERY_BYTE.encode("é") == [0xC3, 0xA9]
    assert EVERY_BYTE.decode([0xC3, 0xA9]) == "é"
    assert EVERY_BYTE.decode([0x41, 0xC3]) == "A\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("vocabulary", "text", "message"),
    [
        (LETTERS, "abX", "text: has 'X': not in the vocabulary of 6 characters"),
        (LETTERS, "0123456", "text: has '0', '1', '2', '3', '4' and 2 more: not in"),
        (Vocabulary((65, 66), "bytes"), "AZ", "text: has b'Z': not in the vocabulary of 2 bytes"),
        (LETTERS, b"\xff", "can't decode byte 0xff in position 0"),
    ],
)
def test_what_is_no_symbol_is_named(
    vocabulary: Vocabulary, text: str | bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        vocabulary.encode(text)


@pytest.mark.parametrize("text", [None, ["a"], 5])
def test_what_is_no_text_is_named(text: Any) -> None:
    with pytest.raises(ValueError, match=f"text: must be str or bytes, is {type(text).__name__}"):
        LETTERS.encode(text)


def test_tokens_may_be_a_tensor_of_one_dimension() -> None:
    assert LETTERS.decode(torch.tensor([1, 2, 4])) == "abé"
    for wrong in (torch.tensor([[1, 2]]), [0.7], "ab"):
        with pytest.raises(ValueError, match="tokens: must be token ids, one is"):
            LETTERS.decode(cast(Any, wrong))


@pytest.mark.parametrize(
    ("symbols", "unit", "message"),
    [
        ((97,), "letters", "unit='letters': must be bytes, characters or words"),
        (("a",), "characters", "symbols: must be a code point each, 0 to 1114111, one is 'a'"),
        ((256,), "bytes", "symbols: must be a byte each, 0 to 255, one is 256"),
        ((97, 97), "bytes", "symbols: must differ"),
    ],
)
def test_what_is_no_vocabulary_is_named(symbols: Any, unit: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Vocabulary(symbols, unit)


@pytest.mark.parametrize("token", [-1, 6])
def test_what_is_no_token_is_named(token: int) -> None:
    with pytest.raises(ValueError, match=f"token={token}: must be 0 to 5"):
        LETTERS.decode([0, token])


def test_the_file_is_plain_json_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    LETTERS.write(path)
    assert json.loads(path.read_text()) == {
        "unit": "characters",
        "symbols": [32, 97, 98, 99, 233, 8594],
    }
    assert Vocabulary.read(path) == LETTERS


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", '{"unit": "words", "symbols": [1]}', '{"unit": "bytes"}'),
        '{"unit": "bytes", "symbols": [1, 1]}',
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(RunError, match=re.escape(f"{path}: damaged")):
        Vocabulary.read(path)
