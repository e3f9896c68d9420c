"""The symbols of a text, numbered: from text to token ids and back."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Any, Literal

from adaspan.data.words import EOS, UNKNOWN, text_of, words_of
from adaspan.errors import RunError
from adaspan.files import write_json

Unit = Literal["bytes", "characters", "words"]
_MOST_NAMED = 5


@dataclass(frozen=True)
class Vocabulary:
    """What each token id stands for. `len(vocabulary)` is the number of ids.

        vocabulary.decode(vocabulary.encode("a text"))    # "a text"

    Args:
        symbols: byte value, Unicode code point or word of each token id.
        unit: what a token is.

    Raises:
        ValueError: a symbol is none of the unit, or is there twice.
    """

    symbols: tuple[Any, ...]  # int, or str where they are words
    unit: Unit

    def __post_init__(self) -> None:
        if self.unit not in ("bytes", "characters", "words"):
            raise ValueError(f"unit={self.unit!r}: must be bytes, characters or words")
        most, kind = (255, "a byte") if self.unit == "bytes" else (sys.maxunicode, "a code point")
        for symbol in self.symbols:
            if self.unit == "words":
                if not isinstance(symbol, str) or symbol.split() != [symbol]:
                    raise ValueError(f"symbols: must be a word each, one is {symbol!r}")
            elif not isinstance(symbol, int) or not 0 <= symbol <= most:
                raise ValueError(f"symbols: must be {kind} each, 0 to {most}, one is {symbol!r}")
        if len(set(self.symbols)) < len(self.symbols):
            raise ValueError("symbols: must differ")

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def _token_of_symbol(self) -> dict[int | str, int]:
        return {symbol: token for token, symbol in enumerate(self.symbols)}

    def encode(self, text: str | bytes) -> list[int]:
        """Token ids of a text; between `str` and `bytes` stands UTF-8.

        Of words, a line break is `<eos>`, and those that are not known are `<unk>`.

        Raises:
            ValueError: it is no text, has symbols that the vocabulary has not, or is no UTF-8 where
                it must be.
        """
        if not isinstance(text, str | bytes):
            raise ValueError(f"text: must be str or bytes, is {type(text).__name__}")
        symbols = self._symbols_of(text)
        unknown = sorted(set(symbols).difference(self._token_of_symbol))
        if unknown and UNKNOWN in self._token_of_symbol:
            unk = self._token_of_symbol[UNKNOWN]
            return [self._token_of_symbol.get(symbol, unk) for symbol in symbols]
        if unknown:
            shown = ", ".join(map(self._written, unknown[:_MOST_NAMED]))
            more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
            raise ValueError(
                f"text: has {shown}{more}: not in the vocabulary of {len(self)} {self.unit}"
            )
        return [self._token_of_symbol[symbol] for symbol in symbols]

    def unknown_words(self, text: str | bytes) -> tuple[int, int]:
        """How many words of a text `encode` reads as `<unk>`, and of how many; 0 of other units."""
        if self.unit != "words":
            return 0, 0
        words = [word for word in self._symbols_of(text) if word != EOS]
        return sum(word not in self._token_of_symbol for word in words), len(words)

    def _symbols_of(self, text: str | bytes) -> list[Any]:
        if self.unit == "bytes":
            return list(text.encode() if isinstance(text, str) else text)
        letters = text if isinstance(text, str) else text.decode()
        return words_of(letters) if self.unit == "words" else [ord(letter) for letter in letters]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of token ids; bytes that are no UTF-8 become U+FFFD.

        Args:
            tokens: whole numbers, in a list or a tensor of one dimension.

        Raises:
            ValueError: what is no id, or one that the vocabulary has not.
        """
        return self.decode_bytes(tokens).decode(errors="replace")

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """The same text as bytes, exactly. Raises as `decode` does."""
        symbols: list[Any] = []
        for item in tokens:
            try:
                token = index(item)
            except TypeError:
                raise ValueError(f"tokens: must be token ids, one is {item!r}") from None
            if not 0 <= token < len(self):
                raise ValueError(f"token={token}: must be 0 to {len(self) - 1}")
            symbols.append(self.symbols[token])
        if self.unit == "bytes":
            return bytes(symbols)
        text = text_of(symbols) if self.unit == "words" else "".join(map(chr, symbols))
        return text.encode()

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        write_json(path, {"unit": self.unit, "symbols": list(self.symbols)})

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """What `write` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            RunError: it is damaged.
        """
        try:
            content = json.loads(path.read_text())
            return cls(tuple(content["symbols"]), content["unit"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: damaged ({error})") from None

    def _written(self, symbol: Any) -> str:
        if self.unit == "words":
            return repr(symbol)
        return repr(bytes([symbol]) if self.unit == "bytes" else chr(symbol))
