"""Prepare a text once: three raw arrays of token ids and a small JSON, in a folder of their own.

    <data_dir>/prepared/<name>-<key>/train.bin valid.bin test.bin meta.json

The folder appears by one rename, complete. Several jobs may prepare the same text at once on a
shared disk: the first rename wins, the others take what it made. A changed source has another key.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from adaspan.data.sources import Source
from adaspan.data.vocabulary import Unit, Vocabulary
from adaspan.data.words import Numbered, Numbering
from adaspan.errors import UserError, in_words
from adaspan.files import sync_folder, write_json

SPLITS = ("train", "valid", "test")
_FORMAT = 1  # raise when the files below change their meaning
_Given = TypeVar("_Given")
_Number = TypeVar("_Number", bound=np.integer[Any])
Tokens = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Corpus:
    """A prepared text. Arrays are memory-mapped: what is not read costs no memory."""

    name: str
    fingerprint: str  # SHA-256 of the whole text
    vocabulary: Vocabulary
    train: Tokens
    valid: Tokens
    test: Tokens
    unknown: Mapping[str, int] = field(default_factory=dict)  # words of a split that train has not

    def require_blocks(self, typed: str, batch_size: int, block_size: int) -> None:
        """Refuse a text that is too short to read in blocks.

        Args:
            typed: what a person typed to choose it.
            batch_size: B.
            block_size: M.

        Raises:
            UserError: names every split's size and what is needed.
        """
        needed = {"train": batch_size * (block_size + 1), "valid": block_size, "test": block_size}
        sizes = {split: len(getattr(self, split)) for split in SPLITS}
        if any(sizes[split] < needed[split] for split in SPLITS):
            have = ", ".join(f"{split} {sizes[split]}" for split in SPLITS)
            need = ", ".join(f"{split} {needed[split]}" for split in SPLITS)
            raise UserError(
                f"{typed}: the text is too short: tokens are {have}; "
                f"train.batch_size={batch_size} and train.block_size={block_size} need {need}"
            )


def prepare(source: Source, data_dir: Path, reader: str | None = None) -> Corpus:
    """The tokens of a source, prepared now unless they are already.

    A text that does not come in splits is cut 90/5/5, in that order. Every byte or character of
    every split has an id; every word of train, which stand for the others as `<unk>`.

    Args:
        source: of the text.
        data_dir: below it they are kept.
        reader: the kind and the code of a user's own source: another one with the same key may
            read something else.

    Raises:
        UserError: the text cannot be downloaded or read.
    """
    root = data_dir / "prepared"
    unit = _unit_of(source)
    parts = [str(_FORMAT), unit, _given(source, "key", source.key(), str), *filter(None, [reader])]
    key = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]
    path = root / f"{_named(source)}-{key}"
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".partial-") as parent:
            made = Path(parent) / "corpus"
            _write(source, made)
            try:
                made.rename(path)
                sync_folder(root)
            except OSError:  # another job was first
                if not path.exists():
                    raise
    return _load(path)


def _named(source: Source) -> str:
    name = _given(source, "name", source.name, str)
    if not name or "/" in name:
        raise UserError(f"data: {type(source).__name__}.name={name!r}: must be a name without /")
    return name


def _given(source: Source, part: str, value: Any, wanted: type[_Given]) -> _Given:
    """What a source gave, which may be a user's own."""
    if not isinstance(value, wanted):
        raise UserError(
            f"data: {type(source).__name__}.{part}: must be {wanted.__name__}, is {in_words(value)}"
        )
    return value


def _unit_of(source: Source) -> Unit:
    if getattr(source, "words", False):
        return "words"
    return _unit(_given(source, "characters", source.characters, bool))


def _write(source: Source, path: Path) -> None:
    parts, unit = _parts_of(source), _unit_of(source)
    if not any(parts.values()):
        raise UserError(f"data={source.name}: {type(source).__name__}.read: the text is empty")
    numbered = _words(source, parts) if unit == "words" else _letters(source, parts)
    path.mkdir()
    for split, part in numbered.splits.items():
        part.tofile(path / f"{split}.bin")
    write_json(
        path / "meta.json",
        {
            "name": source.name,
            "fingerprint": _fingerprint(parts),
            "unit": unit,
            "characters": unit == "characters",
            "dtype": str(numbered.splits["train"].dtype),
            "tokens": {split: len(part) for split, part in numbered.splits.items()},
            "unknown": numbered.unknown,
            "symbols": numbered.symbols,
        },
    )


def _words(source: Source, parts: Mapping[str, bytes]) -> Numbered:
    numbering = Numbering()
    numbers = {}
    for split, content in parts.items():
        with _decoding(source, split):
            numbers[split] = numbering.read(content)
    return numbering.by_count(numbers if len(numbers) > 1 else _cut(numbers[""]))


def _letters(source: Source, parts: Mapping[str, bytes]) -> Numbered:
    """Of bytes or characters."""
    codes = [_codes(source, split, content) for split, content in parts.items()]
    code = np.concatenate(codes) if len(codes) > 1 else codes[0]
    symbols = np.flatnonzero(np.bincount(code))
    token_of_symbol = np.zeros(symbols[-1] + 1, np.min_scalar_type(len(symbols) - 1))
    token_of_symbol[symbols] = np.arange(len(symbols))
    tokens = token_of_symbol[code]
    if len(codes) == 1:
        return Numbered(symbols.tolist(), _cut(tokens))
    ends = np.cumsum([len(part) for part in codes])[:-1]
    return Numbered(symbols.tolist(), dict(zip(SPLITS, np.split(tokens, ends), strict=True)))


def _cut(tokens: npt.NDArray[_Number]) -> dict[str, npt.NDArray[_Number]]:
    """90/5/5."""
    held_out = len(tokens) // 20
    ends = [len(tokens) - 2 * held_out, len(tokens) - held_out]
    return dict(zip(SPLITS, np.split(tokens, ends), strict=True))


def _parts_of(source: Source) -> dict[str, bytes]:
    """The text by split; all of it under no name where it is still to be cut."""
    content = source.read()
    if not isinstance(content, Mapping):
        return {"": _given(source, "read", content, bytes)}
    if content.keys() != set(SPLITS):
        raise UserError(
            f"data: {type(source).__name__}.read: must give {', '.join(SPLITS)}, gave "
            f"{', '.join(map(str, content)) or 'nothing'}"
        )
    return {split: _given(source, f"read: {split}", content[split], bytes) for split in SPLITS}


def _fingerprint(parts: Mapping[str, bytes]) -> str:
    """SHA-256 of the text; of one that comes in splits, also of where they end."""
    digest = hashlib.sha256()
    for part in parts.values():
        digest.update(part)
    if len(parts) > 1:
        digest.update(json.dumps([len(part) for part in parts.values()]).encode())
    return digest.hexdigest()


def _codes(source: Source, split: str, content: bytes) -> npt.NDArray[np.unsignedinteger]:
    """A number for each symbol: its byte or its code point."""
    if not source.characters:
        return np.frombuffer(content, np.uint8)
    with _decoding(source, split):
        return np.frombuffer(content.decode("utf-8").encode("utf-32-le"), np.uint32)


@contextmanager
def _decoding(source: Source, split: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        of_split = f" of {split}" if split else ""
        raise UserError(
            f"data={source.name}: is no UTF-8 text at byte {error.start}{of_split}; use "
            "data.symbols=bytes, or characters=False in a source of your own"
        ) from None


def _load(path: Path) -> Corpus:
    try:
        meta = json.loads((path / "meta.json").read_text())
        arrays = {}
        for split in SPLITS:
            arrays[split] = _map(path / f"{split}.bin", meta["dtype"], meta["tokens"][split])
        return Corpus(
            name=meta["name"],
            fingerprint=meta["fingerprint"],
            vocabulary=_vocabulary(meta),
            unknown=meta.get("unknown", {}),
            **arrays,
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: damaged ({error}); delete this folder and start again") from None


def find_vocabulary(data_dir: Path, fingerprint: str, characters: bool) -> Vocabulary | None:
    """The vocabulary of a prepared text; None if it is not there.

    Args:
        data_dir: where texts were prepared.
        fingerprint: SHA-256 of the text.
        characters: whether tokens are characters.
    """
    for path in (data_dir / "prepared").glob("*/meta.json"):
        meta = json.loads(path.read_text())
        if (meta["fingerprint"], meta["characters"]) == (fingerprint, characters):
            return _vocabulary(meta)
    return None


def _vocabulary(meta: dict[str, Any]) -> Vocabulary:
    return Vocabulary(tuple(meta["symbols"]), meta.get("unit") or _unit(meta["characters"]))


def _unit(characters: bool) -> Unit:
    return "characters" if characters else "bytes"


def _map(path: Path, dtype: str, length: int) -> Tokens:
    if path.stat().st_size != length * np.dtype(dtype).itemsize:
        raise ValueError(f"{path.name} has not {length} tokens")
    if length == 0:  # cannot be mapped
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r", shape=(length,))
