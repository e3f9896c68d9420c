"""Where the text comes from: `data=KIND`."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from omegaconf import MISSING

from adaspan.config.checks import at_least, known_encoding, one_of, readable_file, readable_splits
from adaspan.config.keys import added_key
from adaspan.config.kinds.code import code_sha256
from adaspan.config.kinds.contract import method_of
from adaspan.config.kinds.registry import extension_of, register
from adaspan.errors import UserError, in_words
from adaspan.places import shown

if TYPE_CHECKING:
    from adaspan.config.schema import RunConfig
    from adaspan.data import Corpus, Tokens
    from adaspan.data.archives import Archive, ArchiveSource
    from adaspan.data.recall import RecallSource
    from adaspan.data.sources import FileSource, Source, SplitSource


BYTES = 256  # different ones


@dataclass
class DataConfig:
    """Text; cut 90/5/5 into train, valid and test unless it comes in splits."""

    group: ClassVar[str] = "data"
    # Keys that say where a text is and how it is read, not which it is.
    places: ClassVar[tuple[str, ...]] = ()
    kind: str = field(default=MISSING, init=False)  # the name that it is registered under

    @property
    def name(self) -> str:
        """What a person calls the text."""
        return self.kind

    @property
    def typed(self) -> str:
        """What a person types to choose the text."""
        return f"data={self.kind}"

    def make_paths_absolute(self) -> None:
        """Make the same run of the same values wherever it starts."""

    def mistakes(self) -> Iterator[str]:
        """What is wrong with the values, each as `key=value: what is allowed`."""
        yield from ()

    def mistakes_in(self, config: RunConfig) -> Iterator[str]:
        """Mistakes that involve other groups; asked once every value is valid on its own.

        Args:
            config: of the run.
        """
        yield from ()

    def build(self, data_dir: Path) -> Source:
        """What the text can be read from; nothing is read yet.

        Args:
            data_dir: for downloads.
        """
        raise NotImplementedError

    def split_names(self) -> list[str]:
        """Names of the files of train, valid and test, where a person named but their folder."""
        return []

    def most_symbols(self) -> int | None:
        """No text of this kind has more different symbols; None: that is not known before it is
        read.
        """
        return None

    def before(self) -> DataConfig:
        """The same as it was written when a text was known by `places`."""
        return self

    def content(self) -> list[str] | None:
        """What the text is known by in a run's identity, in place of `places`; None: it is known by
        its keys.

        Raises:
            UserError: the text cannot be read.
        """
        return None

    def entropy_nats(self, tokens: Tokens) -> float | None:
        """What the best possible predictor pays for a token of a text, in nats; None: unknown, as
        it is of all that people have written.

        Args:
            tokens: ids of all of it.
        """
        return None


def corpus_of(config: DataConfig, data_dir: Path) -> Corpus:
    """The text of a configuration as tokens, which are made now or found.

    Raises:
        UserError: the text cannot be downloaded or read, or `build` gives no source of one.
    """
    from adaspan.data import prepare

    source = config.build(data_dir)
    for part in ("name", "characters", "key", "read"):
        if not hasattr(source, part):
            raise UserError(
                f"{method_of(config, 'build')}: must return a source with name, characters, key() "
                f"and read(), returned {in_words(source)} without {part}"
            )
    module = extension_of("data", config.kind)
    reader = f"{module}.{config.kind} {code_sha256(module)}" if module else None
    return prepare(source, data_dir, reader)


@register("data", "stdlib")
@dataclass
class StdlibDataConfig(DataConfig):
    """The source code of Python's own standard library, as bytes: about 13 MB on every machine."""

    def build(self, data_dir: Path) -> Source:
        from adaspan.data.sources import StdlibSource

        return StdlibSource()

    def most_symbols(self) -> int:
        return BYTES


@register("data", "text")
@dataclass
class TextDataConfig(DataConfig):
    """Any text of one's own: a file, or one a split."""

    places = ("path", "train", "valid", "test", "encoding")
    path: str = ""  # a file, or a folder with files for train, valid and test
    symbols: str = "bytes"  # bytes, characters of UTF-8 text, or words
    train: str | None = added_key(None)  # or a file for each split
    valid: str | None = added_key(None)
    test: str | None = added_key(None)
    encoding: str | None = added_key(None)  # null: UTF-8, or refused; else converted; raw: as it is

    @property
    def name(self) -> str:
        from adaspan.data.sources import name_of_text

        path = Path(self.path)
        return name_of_text(path) if self.path else Path(self.train or "").absolute().parent.name

    @property
    def typed(self) -> str:
        if self.path:
            return f"data.path={shown(Path(self.path))}"
        return " ".join(
            f"data.{split}={shown(path)}" for split, path in _paths(self._given).items()
        )

    def make_paths_absolute(self) -> None:
        self.path = self.path and _absolute(self.path)
        for split, path in self._given.items():
            setattr(self, split, path and _absolute(path))

    @property
    def _given(self) -> dict[str, str | None]:
        return {"train": self.train, "valid": self.valid, "test": self.test}

    def mistakes(self) -> Iterator[str]:
        yield from one_of("data.symbols", self.symbols, ("bytes", "characters", "words"))
        if self.encoding is not None:
            yield from known_encoding("data.encoding", self.encoding)
        if not any(self._given.values()):
            if not self.path:
                yield "data.path: needs a value, or data.train, data.valid and data.test have one"
            elif (folder := Path(self.path).expanduser()).is_dir():
                yield from readable_splits("data.path", folder, words=self._words)
            else:
                yield from readable_file("data.path", self.path)
            return
        if self.path:
            yield f"data.path={self.path}: leave it out where each split has a file of its own"
        for split, path in self._given.items():
            if path is None:
                yield f"data.{split}: needs a value, as the other splits have one"
            else:
                yield from readable_file(f"data.{split}", path)
        yield from self._used_twice()

    def _used_twice(self) -> Iterator[str]:
        """A file that stands for two splits: what a model has learned by heart is no score."""
        files = {split: path for split, path in _paths(self._given).items() if path.is_file()}
        for one, other in itertools.combinations(files, 2):
            if files[one].samefile(files[other]):
                yield (
                    f"data.{other}={shown(files[other])}: is the file of data.{one}, too; each "
                    "split needs a text of its own"
                )

    def before(self) -> DataConfig:
        # Every text was read as it is.
        return dataclasses.replace(self, encoding=None) if self.encoding == "raw" else self

    def content(self) -> list[str] | None:
        paths = [self.path] if self.path else filter(None, self._given.values())
        if not all(Path(path).expanduser().exists() for path in paths):
            return None  # as of a run that was trained elsewhere
        return self.build(Path()).content()

    def build(self, data_dir: Path) -> FileSource | SplitSource:
        from adaspan.data.sources import FileSource, SplitSource, split_files

        characters, path = self.symbols == "characters", Path(self.path).expanduser()
        if self.path and not path.is_dir():
            return FileSource(path, characters, self._words, self.encoding)
        files = split_files(path, words=self._words) if self.path else _paths(self._given)
        return SplitSource(self.name, files, characters, self._words, self.encoding)

    @property
    def _words(self) -> bool:
        return self.symbols == "words"

    def split_names(self) -> list[str]:
        from adaspan.data.sources import split_files

        folder = Path(self.path).expanduser()
        if not self.path or not folder.is_dir():
            return []
        return [path.name for path in split_files(folder, words=self._words).values()]

    def most_symbols(self) -> int | None:
        return BYTES if self.symbols == "bytes" else None


def _absolute(path: str) -> str:
    """Never fails, as `Path.resolve` does: that a name leads nowhere is told later."""
    with suppress(RuntimeError):  # ~nobody
        path = str(Path(path).expanduser())
    return os.path.realpath(path)


def _paths(given: dict[str, str | None]) -> dict[str, Path]:
    return {split: Path(path).expanduser() for split, path in given.items() if path}


@dataclass
class _ArchiveConfig(DataConfig):
    archive: str | None = None  # a local zip file; null: download once into data_dir

    def make_paths_absolute(self) -> None:
        self.archive = self.archive and str(Path(self.archive).expanduser().absolute())

    def mistakes(self) -> Iterator[str]:
        if self.archive is not None:
            yield from readable_file("data.archive", self.archive)

    def _source(self, archive: Archive, data_dir: Path) -> ArchiveSource:
        from adaspan.data.archives import ArchiveSource

        local = Path(self.archive).expanduser() if self.archive else None
        return ArchiveSource(archive, data_dir / "downloads", local)


@register("data", "enwik8")
@dataclass
class Enwik8DataConfig(_ArchiveConfig):
    """The first 10^8 bytes of English Wikipedia."""

    def build(self, data_dir: Path) -> Source:
        from adaspan.data.archives import ENWIK8

        return self._source(ENWIK8, data_dir)

    def most_symbols(self) -> int:
        return BYTES


@register("data", "text8")
@dataclass
class Text8DataConfig(_ArchiveConfig):
    """10^8 characters of cleaned English Wikipedia: a to z and space."""

    def build(self, data_dir: Path) -> Source:
        from adaspan.data.archives import TEXT8

        return self._source(TEXT8, data_dir)

    def most_symbols(self) -> int:
        return 27


@register("data", "wikitext103")
@dataclass
class WikiText103DataConfig(_ArchiveConfig):
    """WikiText-103: 103 million words of Wikipedia's better articles, 267,735 different ones."""

    archive: str | None = None  # the zip file, or its unpacked folder, whose files are not checked

    def mistakes(self) -> Iterator[str]:
        folder = Path(self.archive or "").expanduser()
        if self.archive and folder.is_dir():
            yield from readable_splits("data.archive", folder, words=True)
        else:
            yield from super().mistakes()

    def build(self, data_dir: Path) -> Source:
        from adaspan.data.archives import WIKITEXT103
        from adaspan.data.sources import SplitSource, split_files

        folder = Path(self.archive or "").expanduser()
        if self.archive and folder.is_dir():
            return SplitSource(
                self.kind,
                split_files(folder, words=True),
                characters=False,
                words=True,
                encoding_option="",
            )
        return self._source(WIKITEXT103, data_dir)

    def most_symbols(self) -> int | None:
        is_folder = self.archive and Path(self.archive).expanduser().is_dir()
        return None if is_folder else 267_735


@register("data", "recall")
@dataclass
class RecallDataConfig(DataConfig):
    """A synthetic stream whose symbols recur at known distances."""

    distances: list[int] = MISSING  # every k: the next symbol may be the one k back
    kept: list[float] = MISSING  # the probability of each
    alphabet: int = MISSING  # number of symbols
    length: int = MISSING  # in symbols
    seed: int = MISSING  # of the stream

    @property
    def name(self) -> str:
        return self._source().name

    def mistakes(self) -> Iterator[str]:
        from adaspan.data.recall import SYMBOLS

        if not self.distances:
            yield "data.distances=[]: must have at least one"
        held_out = self.length // 20  # of 90/5/5
        for distance in self.distances:
            yield from at_least("data.distances", distance, 1)
            if 0 < held_out <= distance:
                yield (
                    f"data.distances={distance}: must be below {held_out}, the symbols of valid "
                    f"and of test; data.length={20 * (distance + 1)} has enough"
                )
        if len(self.kept) != len(self.distances):
            yield f"data.kept={self.kept}: must have as many as data.distances={self.distances}"
        if not (all(share >= 0 for share in self.kept) and math.fsum(self.kept) <= 1):
            yield f"data.kept={self.kept}: must be at least 0 each and at most 1 together"
        if not 2 <= self.alphabet <= len(SYMBOLS):
            yield f"data.alphabet={self.alphabet}: must lie between 2 and {len(SYMBOLS)}"
        yield from at_least("data.length", self.length, 1)
        yield from at_least("data.seed", self.seed, 0)

    def build(self, data_dir: Path) -> Source:
        return self._source()

    def most_symbols(self) -> int:
        return self.alphabet

    def entropy_nats(self, tokens: Tokens) -> float:
        from adaspan.data.recall import entropy_nats

        return entropy_nats(tokens, self.distances, self.kept, self.alphabet)

    def _source(self) -> RecallSource:
        from adaspan.data.recall import RecallSource

        return RecallSource(self.distances, self.kept, self.alphabet, self.length, self.seed)
