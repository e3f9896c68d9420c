"""A text becomes arrays of token ids, piece by piece: memory does not grow with the text.

Bytes and characters are read twice: which there are, then what each becomes. Words are numbered as
they come; the numbers are kept in a file until the counts, by which ids go, are known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from adaspan.data.facts import Facts, Survey, joined, whole_characters
from adaspan.data.prepared import SPLITS, write_splits
from adaspan.data.sources import Source, Text
from adaspan.data.textfile import TextFile
from adaspan.data.vocabulary import Unit
from adaspan.data.words import Numbering
from adaspan.errors import UserError, in_words

_NUMBERS_AT_ONCE = 1 << 18
_CODE_POINTS = 0x110000
_Given = TypeVar("_Given")
Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Tokenized:
    """What is known of a text whose arrays are written.

    Args:
        symbols: of each id: words, or numbers of letters.
        dtype: of the arrays.
        tokens: how many each split has.
        unknown: how many words of each split are `<unk>` though it does not say so.
        fingerprint: SHA-256 of the text; of one that comes in splits, also of where they end.
        facts: what it turned out to be.
    """

    symbols: list[Any]
    dtype: str
    tokens: dict[str, int]
    unknown: dict[str, int]
    fingerprint: str
    facts: Facts


def tokenize(
    source: Source, unit: Unit, folder: Path, progress: Callable[[float], None]
) -> Tokenized:
    """Write the arrays of a text.

    Args:
        source: of the text.
        unit: what a token is.
        folder: for the arrays.
        progress: called with the share that is done.

    Raises:
        UserError: the text cannot be read, is empty, or changes meanwhile.
    """
    if unit == "words":
        return _words(_Reader(source, 1, progress), folder)
    return _letters(_Reader(source, 2, progress), unit, folder)


class _Reader:
    """Reads a text from its beginning to its end, and finds the same each time.

    Args:
        source: of the text.
        passes: how often it will be read.
        progress: called with the share that is done of them all.
    """

    def __init__(self, source: Source, passes: int, progress: Callable[[float], None]) -> None:
        self.source = source
        self._parts = _parts_of(source)
        self._passes, self._passed, self._progress = passes, 0, progress
        self.fingerprint = ""
        self.facts: Facts | None = None

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Pieces of whole characters, each with the number of its split; 0 if it is to be cut."""
        digest, sizes, facts = hashlib.sha256(), [0] * len(self._parts), []
        for place, part in enumerate(self._parts.values()):
            survey = Survey()
            for piece in part if isinstance(part, TextFile) else _watched(part, survey):
                digest.update(piece)
                sizes[place] += len(piece)
                done = self._passed + (place + _share_read(part, sizes[place])) / len(sizes)
                self._progress(done / self._passes)
                yield place, piece
            facts.append((part.facts if isinstance(part, TextFile) else None) or survey.facts())
        self._passed += 1
        if not any(sizes):
            name = type(self.source).__name__
            raise UserError(f"data={self.source.name}: {name}.read: the text is empty")
        if len(sizes) > 1:
            digest.update(json.dumps(sizes).encode())
        if self.fingerprint not in ("", digest.hexdigest()):
            raise UserError(
                f"data={self.source.name}: has changed while it was read; type the command again"
            )
        self.fingerprint, self.facts = digest.hexdigest(), joined(facts)

    def letters(self) -> Iterator[tuple[int, str]]:
        """The same, decoded."""
        place, begin = 0, 0
        for split, piece in self.pieces():
            place, begin = split, begin if split == place else 0
            with self._decoding(split, begin):
                text = piece.decode()
            begin += len(piece)
            yield split, text

    def sizes(self, counts: list[int]) -> dict[str, int]:
        """Tokens of each split, from those of each part."""
        if len(counts) == 1:  # cut 90/5/5
            held_out = counts[0] // 20
            counts = [counts[0] - 2 * held_out, held_out, held_out]
        return dict(zip(SPLITS, counts, strict=True))

    @property
    def parts(self) -> int:
        return len(self._parts)

    @contextmanager
    def _decoding(self, place: int, begin: int) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:
            of_split = f" of {[*self._parts][place]}" if self.parts > 1 else ""
            raise UserError(
                f"data={self.source.name}: is no UTF-8 text at byte {begin + error.start}"
                f"{of_split}; use data.symbols=bytes, or characters=False in a source of your own"
            ) from None


def _letters(reader: _Reader, unit: Unit, folder: Path) -> Tokenized:
    """Of bytes or characters."""
    seen, counts = np.zeros(_CODE_POINTS, np.bool_), [0] * reader.parts
    for split, codes in _codes(reader, unit):
        seen[codes] = True
        counts[split] += len(codes)
    symbols = np.flatnonzero(seen)
    token_of_symbol = np.zeros(symbols[-1] + 1, np.min_scalar_type(len(symbols) - 1))
    token_of_symbol[symbols] = np.arange(len(symbols))
    sizes, first = reader.sizes(counts), reader.fingerprint
    again = (np.minimum(codes, symbols[-1]) for _, codes in _codes(reader, unit))
    write_splits(folder, sizes, (token_of_symbol[codes] for codes in again))
    assert reader.facts
    return Tokenized(symbols.tolist(), str(token_of_symbol.dtype), sizes, {}, first, reader.facts)


def _codes(reader: _Reader, unit: Unit) -> Iterator[tuple[int, npt.NDArray[np.unsignedinteger]]]:
    """A number for each symbol: its byte or its code point."""
    if unit == "bytes":
        for split, piece in reader.pieces():
            yield split, np.frombuffer(piece, np.uint8)
        return
    for split, text in reader.letters():
        yield split, np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _words(reader: _Reader, folder: Path) -> Tokenized:
    numbering, counts = Numbering(), [0] * reader.parts
    kept = folder / "numbers.bin"
    with kept.open("wb") as file:
        for split, numbers in _numbers(reader, numbering):
            counts[split] += len(numbers)
            numbers.tofile(file)
    sizes = reader.sizes(counts)
    parts = [*_ends(sizes)]
    in_train = sum(
        (np.bincount(some, minlength=len(numbering)) for some in _kept(kept, *parts[0])),
        np.zeros(len(numbering), np.int64),
    )
    words, id_of_number = numbering.by_count(in_train)
    is_unknown = numbering.is_unknown(in_train)
    unknown = {
        split: sum(int(is_unknown[some].sum()) for some in _kept(kept, *part))
        for split, part in zip(SPLITS, parts, strict=True)
    }
    everything = _kept(kept, 0, sum(sizes.values()))
    write_splits(folder, sizes, (id_of_number[some] for some in everything))
    kept.unlink()
    assert reader.facts
    return Tokenized(
        words, str(id_of_number.dtype), sizes, unknown, reader.fingerprint, reader.facts
    )


def _numbers(reader: _Reader, numbering: Numbering) -> Iterator[tuple[int, Numbers]]:
    """Of words, part after part."""
    for split, pieces in groupby(reader.letters(), itemgetter(0)):
        for numbers in numbering.read(text for _, text in pieces):
            yield split, numbers


def _ends(sizes: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    """Where each split begins and ends."""
    end = 0
    for size in sizes.values():
        yield end, end + size
        end += size


def _kept(path: Path, begin: int, end: int) -> Iterator[Numbers]:
    """Numbers of a file. It is not mapped, for what is mapped counts as memory."""
    for start in range(begin, end, _NUMBERS_AT_ONCE):
        count = min(_NUMBERS_AT_ONCE, end - start)
        yield np.fromfile(path, np.int32, count, offset=start * np.dtype(np.int32).itemsize)


def _watched(part: Text, survey: Survey) -> Iterator[bytes]:
    for piece in whole_characters([part] if isinstance(part, bytes) else part):
        survey.feed(piece)
        yield piece


def _share_read(part: Text, size: int) -> float:
    if isinstance(part, TextFile):
        return part.share_read
    return size / len(part) if isinstance(part, bytes) else 0.0


def _parts_of(source: Source) -> dict[str, Text]:
    """The text by split; all of it under no name where it is still to be cut."""
    content = source.read()
    if not isinstance(content, Mapping):
        return {"": _text(source, "read", content)}
    if {*content} != {*SPLITS}:
        raise UserError(
            f"data: {type(source).__name__}.read: must give {', '.join(SPLITS)}, gave "
            f"{', '.join(map(str, content)) or 'nothing'}"
        )
    return {split: _text(source, f"read: {split}", content[split]) for split in SPLITS}


def _text(source: Source, part: str, value: Any) -> Text:
    """What a source gave, which may be a user's own. It must be there to be read twice."""
    again = isinstance(value, Iterable) and not isinstance(value, str | Iterator)
    return value if again else given(source, part, value, bytes)


def given(source: Source, part: str, value: Any, wanted: type[_Given]) -> _Given:
    """What a source gave, which may be a user's own.

    Raises:
        UserError: it is something else than what was wanted.
    """
    if not isinstance(value, wanted):
        raise UserError(
            f"data: {type(source).__name__}.{part}: must be {wanted.__name__}, is {in_words(value)}"
        )
    return value
