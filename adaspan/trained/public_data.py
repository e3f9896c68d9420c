"""Text as the paper's public code reads it: train.txt, valid.txt and test.txt in a folder.

Each symbol of the text is a word of the file. Bytes are written as decimal numbers, characters as
themselves with `_` for a space; real words are themselves. The end of a line is a symbol of its
own. Symbols are numbered as they first appear in train.txt; with adaptive input and output by
count, the most frequent first.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from adaspan.config.kinds.data import TextDataConfig
from adaspan.data.textfile import RAW, Reading, TextFile
from adaspan.data.vocabulary import Unit, Vocabulary
from adaspan.data.words import EOS
from adaspan.errors import UserError
from adaspan.files import replacing

_FILES = ("train.txt", "valid.txt", "test.txt")


class PublicData:
    """The text of a folder.

    Args:
        folder: with the three files.
        by_count: whether the most frequent symbols come first.

    Raises:
        UserError: one is missing.
    """

    def __init__(self, folder: Path, *, by_count: bool = False) -> None:
        self._folder = folder
        for name in _FILES:
            if not (folder / name).is_file():
                raise UserError(
                    f"--data {folder}: has no {name}; it must be the folder that the checkpoint "
                    "was trained on, with train.txt, valid.txt and test.txt"
                )
        words: Mapping[str, int] = Counter(  # in the order of their first appearance
            word for line in self._lines("train.txt") for word in (*line.split(), EOS)
        )
        if by_count:  # of words that are as frequent, the last to appear comes first
            words = dict(sorted(words.items(), key=lambda item: item[1])[::-1])
        self._unit = _unit_of([word for word in words if word != EOS])
        self.vocabulary = Vocabulary(tuple(map(self._symbol, words)), self._unit)

    def as_data(self, decoded: Path) -> TextDataConfig:
        """The configuration of the text as `data=text` reads it.

        Args:
            decoded: folder for files that stand for those with bytes or characters.
        """
        files = {name: self._folder.resolve() / name for name in _FILES}
        if self._unit != "words":
            decoded.mkdir(parents=True, exist_ok=True)
            for name in _FILES:
                files[name] = decoded.absolute() / name
                with replacing(files[name]) as file:
                    file.write(self._decoded(name))
        train, valid, test = map(str, files.values())
        encoding = RAW if self._unit == "bytes" else None  # which need be no text
        return TextDataConfig(
            symbols=self._unit, train=train, valid=valid, test=test, encoding=encoding
        )

    def _decoded(self, name: str) -> bytes:
        codes = [code for line in self._lines(name) for code in self._codes(line)]
        return bytes(codes) if self._unit == "bytes" else "".join(map(chr, codes)).encode()

    def _codes(self, line: str) -> Iterator[int]:
        yield from map(self._code, line.split())
        if line.endswith("\n"):
            yield self._code(EOS)

    def _symbol(self, word: str) -> int | str:
        return word if self._unit == "words" else self._code(word)

    def _code(self, word: str) -> int:
        if word == EOS:
            return ord("\n")
        return int(word) if self._unit == "bytes" else ord(" " if word == "_" else word)

    def _lines(self, name: str) -> Iterator[str]:
        reading = Reading(option="", as_bytes=False)
        text = TextFile(self._folder / name, f"--data {self._folder / name}", reading)
        newlines, begun = io.IncrementalNewlineDecoder(None, translate=True), ""
        for piece in text:
            *lines, begun = f"{begun}{newlines.decode(piece.decode())}".split("\n")
            yield from (f"{line}\n" for line in lines)
        yield from filter(None, [begun + newlines.decode("", final=True)])


def _unit_of(words: list[str]) -> Unit:
    if all(word.isdecimal() and int(word) < 256 for word in words):
        return "bytes"
    return "characters" if all(len(word) == 1 for word in words) else "words"
