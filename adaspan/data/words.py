"""Words: what stands between white space. A line ends in one of its own, `<eos>`.

Ids follow the counts in train, the most frequent first; of equally frequent words the one that came
later in the text is first, as in the paper's public code, so that its checkpoints fit. A word that
train has not is `<unk>`.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
    return "".join(spaced(words)).removeprefix(" ")


def spaced(words: Iterable[str]) -> Iterator[str]:
    """The same word by word, as a continuation of other words."""
    gap = " "
    for word in words:
        yield "\n" if word == EOS else gap + word
        gap = "" if word == EOS else " "


@dataclass(frozen=True)
class Numbered:
    """A text as ids.

    Args:
        symbols: of each id: words, or numbers of letters.
        splits: ids.
        unknown: how many words of each split are `<unk>` though it does not say so.
    """

    symbols: list[Any]
    splits: dict[str, npt.NDArray[Any]]
    unknown: dict[str, int] = field(default_factory=dict)


class Numbering:
    """Numbers words in the order in which they come, split after split."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}

    def read(self, content: bytes) -> npt.NDArray[np.int32]:
        """Provisional numbers of the words of a text, an `<eos>` a line.

        Raises:
            UnicodeDecodeError: it is no UTF-8.
        """
        numbers, number = array("i"), self._number
        for line in io.BytesIO(content):
            numbers.extend(
                number.setdefault(word, len(number)) for word in (*line.decode().split(), EOS)
            )
        return np.frombuffer(numbers, np.int32) if numbers else np.empty(0, np.int32)

    def by_count(self, splits: Mapping[str, npt.NDArray[np.int32]]) -> Numbered:
        """Final ids, by the counts in train."""
        known = list(self._number)
        counts = np.bincount(splits["train"], minlength=len(known))
        by_count = np.argsort(counts, kind="stable")[::-1]
        kept = by_count[counts[by_count] > 0]
        words = [known[number] for number in kept]
        if UNKNOWN not in words:
            words.append(UNKNOWN)
        unknown = words.index(UNKNOWN)
        id_of_number = np.full(len(known), unknown, np.min_scalar_type(len(words) - 1))
        id_of_number[kept] = np.arange(len(kept))
        is_said = self._number.get(UNKNOWN, -1)
        return Numbered(
            words,
            {split: id_of_number[numbers] for split, numbers in splits.items()},
            {
                split: int(((counts[numbers] == 0) & (numbers != is_said)).sum())
                for split, numbers in splits.items()
            },
        )
