"""Where text comes from. Every source has a `key`, which changes when the text does."""

from __future__ import annotations

import hashlib
import json
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adaspan.data.packed import SUFFIXES
from adaspan.data.textfile import Reading, TextFile
from adaspan.places import shown

# All of a text, or something that gives it piece by piece each time that it is iterated.
Text = bytes | Iterable[bytes]
_NAME_LENGTH = 100


class Source(Protocol):
    """A text, before it is cut into tokens."""

    @property
    def name(self) -> str: ...

    @property
    def characters(self) -> bool:
        """Whether tokens are characters of UTF-8 text; otherwise bytes."""

    def key(self) -> str:
        """Differs whenever the text may differ."""

    # A source may have `words = True`, too: whatever `characters` says, tokens are words then.

    def read(self) -> Text | Mapping[str, Text]:
        """The whole text, to be cut into splits; or `{"train": …, "valid": …, "test": …}`.

        Raises:
            UserError: it cannot be read or downloaded; says what to do.
        """


class StdlibSource:
    """Every .py file of Python's standard library outside its tests, about 13 MB.

    The files follow each other in the order of their paths' hashes, so that train, valid and test
    hold alike mixtures of modules, on every machine the same.
    """

    name = "stdlib"
    characters = False
    _LEFT_OUT = frozenset(
        {"site-packages", "dist-packages", "test", "tests", "idle_test"}
        | {"pydoc_data"}  # one generated file, larger than a whole split
    )

    def _files(self) -> list[Path]:
        root = Path(sysconfig.get_paths()["stdlib"])
        relative = (path.relative_to(root) for path in root.rglob("*.py"))
        kept_files = (path for path in relative if not self._LEFT_OUT.intersection(path.parts))
        ordered = sorted(kept_files, key=lambda path: _sha256(path.as_posix().encode()))
        return [root / path for path in ordered]

    def key(self) -> str:
        digest = hashlib.sha256()
        for content in self.read():
            digest.update(content)
        return digest.hexdigest()

    def read(self) -> Iterable[bytes]:
        return _Concatenated(self._files())


class _Concatenated:
    """Files, one after the other."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __iter__(self) -> Iterator[bytes]:
        return (path.read_bytes() for path in self._paths)


@dataclass
class FileSource:
    """A file of the user's own."""

    path: Path
    characters: bool
    words: bool = False  # tokens are words, whatever `characters` says
    encoding: str | None = None  # see Reading

    @property
    def name(self) -> str:
        return name_of_text(self.path)

    def content(self) -> list[str]:
        """SHA-256 of the text, wherever it is and however it is packed."""
        return [self.read().sha256()]

    def key(self) -> str:
        return _key(self.content())

    def read(self) -> TextFile:
        reading = Reading(self.encoding, as_bytes=not self.characters and not self.words)
        return TextFile(self.path, f"data.path={shown(self.path)}", reading)


@dataclass
class SplitSource:
    """Files of the user's own, one a split."""

    name: str
    files: Mapping[str, Path]
    characters: bool
    words: bool = False
    encoding: str | None = None
    encoding_option: str = "data.encoding="  # see Reading

    def content(self) -> list[str]:
        """SHA-256 of the text of each split."""
        return [text.sha256() for text in self.read().values()]

    def key(self) -> str:
        return _key(self.content())

    def read(self) -> Mapping[str, TextFile]:
        as_bytes = not self.characters and not self.words
        reading = Reading(self.encoding, self.encoding_option, as_bytes)
        return {
            split: TextFile(path, f"data.{split}={shown(path)}", reading)
            for split, path in self.files.items()
        }


def name_of_text(path: Path) -> str:
    """What a person calls a text: the name of its file, less what says how it is packed."""
    unpacked = Path(path.stem) if path.suffix.lower() in SUFFIXES else path
    return unpacked.stem[:_NAME_LENGTH]


def split_files(folder: Path, *, words: bool) -> dict[str, Path]:
    """The files of a folder that hold train, valid and test, by what is between the dots of their
    names: `train.txt`, `wiki.train.tokens`.

    The scripts that prepare text for the papers' code write each split twice: `train.txt` has every
    byte as a number, every character as a word; `train.txt.raw` is the text as it was.

    Args:
        folder: to look in.
        words: tokens are words, so that of such a pair `train.txt` is meant, else `train.txt.raw`.

    Raises:
        ValueError: says which split has no file, or several.
    """
    files = {}
    for split in ("train", "valid", "test"):
        of_split = [
            path
            for path in sorted(folder.iterdir())
            if path.is_file() and split in path.name.split(".")
        ]
        if len(of_split) == 2 and of_split[1].name == f"{of_split[0].name}.raw":
            of_split = of_split[:1] if words else of_split[1:]
        if len(of_split) != 1:
            several = (
                f"{len(of_split)} files for {split}: {', '.join(path.name for path in of_split)}"
            )
            raise ValueError(several if of_split else f"no file for {split}, such as {split}.txt")
        files[split] = of_split[0]
    return files


def _key(content: list[str]) -> str:
    return _sha256(json.dumps(content).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
