"""Where text comes from. Every source has a cheap `key`, which changes when the text does."""

from __future__ import annotations

import hashlib
import json
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Source(Protocol):
    """A text, before it is cut into tokens."""

    @property
    def name(self) -> str: ...

    @property
    def characters(self) -> bool:
        """Whether tokens are characters of UTF-8 text; otherwise bytes."""

    def key(self) -> str:
        """Differs whenever the text may differ; computed without reading it where possible."""

    # A source may have `words = True`, too: whatever `characters` says, tokens are words then.

    def read(self) -> bytes | Mapping[str, bytes]:
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
        return _stat_key(*self._files())

    def read(self) -> bytes:
        return b"".join(path.read_bytes() for path in self._files())


@dataclass
class FileSource:
    """A file of the user's own."""

    path: Path
    characters: bool
    words: bool = False  # tokens are words, whatever `characters` says

    @property
    def name(self) -> str:
        return self.path.stem

    def key(self) -> str:
        return _stat_key(self.path)

    def read(self) -> bytes:
        return self.path.read_bytes()


@dataclass
class SplitSource:
    """Files of the user's own, one a split."""

    name: str
    files: Mapping[str, Path]
    characters: bool
    words: bool = False

    def key(self) -> str:
        return _stat_key(*self.files.values())

    def read(self) -> Mapping[str, bytes]:
        return {split: path.read_bytes() for split, path in self.files.items()}


def split_files(folder: Path) -> dict[str, Path]:
    """The files of a folder that hold train, valid and test, by what is between the dots of their
    names: `train.txt`, `wiki.train.tokens`.

    Raises:
        ValueError: says which split has no file, or several.
    """
    files = {}
    for split in ("train", "valid", "test"):
        found = [
            path
            for path in sorted(folder.iterdir())
            if path.is_file() and split in path.name.split(".")
        ]
        if len(found) != 1:
            several = f"{len(found)} files for {split}: {', '.join(path.name for path in found)}"
            raise ValueError(several if found else f"no file for {split}, such as {split}.txt")
        files[split] = found[0]
    return files


def _stat_key(*paths: Path) -> str:
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return _sha256(json.dumps(stats).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
