"""Words: what stands between white space. A line ends in one of its own, `<eos>`.

Ids follow the counts in train, the most frequent first; of equally frequent words the one that came
later in the text is first, as in the paper's public code, so that its checkpoints fit. A word that
train has not is `<unk>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

EOS = "<eos>"
UNKNOWN = "<unk>"


def words_of(text: str) -> list[str]:
    """The words of a text; a line break is `<eos>`."""
    first, *lines = text.split("\n")
    words = first.split()
    for line in lines:
        words += [EOS, *line.split()]
    return words


def text_of(words: Iterable[str]) -> str:
    """Words with a space between them, and a line break for `<eos>`."""
    return "".join(spaced(words, after=EOS))


def spaced(words: Iterable[str], after: str) -> Iterator[str]:
    """The same word by word, as a continuation of a word that stands before them."""
    gap = "" if after == EOS else " "
    for word in words:
        yield "\n" if word == EOS else gap + word
        gap = "" if word == EOS else " "


class Numbering:
    """Numbers words in the order in which they come, split after split."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._number)

    def read(self, pieces: Iterable[str]) -> Iterator[npt.NDArray[np.int32]]:
        """Provisional numbers of the words of a text, an `<eos>` a line, as its pieces come.

        A line break at its end is there whether it is written or not.
        """
        begun: list[str] = []  # a word that may go on in the next piece
        last = "\n"
        for piece in pieces:
            end = max(piece.rfind(" "), piece.rfind("\n")) + 1
            last = piece[-1]
            if end:
                yield self._numbers(words_of("".join([*begun, piece[:end]])))
                begun = []
            begun.append(piece[end:])
        yield self._numbers(words_of("".join(begun)) + [EOS] * (last != "\n"))

    def _numbers(self, words: list[str]) -> npt.NDArray[np.int32]:
        number = self._number
        return np.array([number.setdefault(word, len(number)) for word in words], np.int32)

    def by_count(self, counts: npt.NDArray[np.int64]) -> tuple[list[str], npt.NDArray[Any]]:
        """The words of each final id, and the id of each provisional number.

        Args:
            counts: of each number in train. A word that it has not is `<unk>`.
        """
        known = list(self._number)
        by_count = np.argsort(counts, kind="stable")[::-1]
        kept = by_count[counts[by_count] > 0]
        words = [known[number] for number in kept]
        if UNKNOWN not in words:
            words.append(UNKNOWN)
        id_of_number = np.full(len(known), words.index(UNKNOWN), np.min_scalar_type(len(words) - 1))
        id_of_number[kept] = np.arange(len(kept))
        return words, id_of_number

    def is_unknown(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Of each number, whether it is read as `<unk>` though it does not say so."""
        unknown: npt.NDArray[np.bool_] = counts == 0
        if UNKNOWN in self._number:
            unknown[self._number[UNKNOWN]] = False
        return unknown
