"""Where text comes from. Every source has a cheap `key`, which changes when the text does."""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile, ZipFile

import pooch
import requests

from adaspan.config.schema import (
    DataConfig,
    Enwik8DataConfig,
    StdlibDataConfig,
    Text8DataConfig,
    TextDataConfig,
)
from adaspan.errors import UserError


class Source(Protocol):
    """A text, before it is cut into tokens."""

    @property
    def name(self) -> str: ...

    characters: bool  # tokens are characters of UTF-8 text; otherwise bytes

    def key(self) -> str:
        """Differs whenever the text may differ; found without reading it where possible."""

    def read(self) -> bytes:
        """The whole text.

        Raises:
            UserError: it cannot be had; says what to do.
        """


def open_source(data: DataConfig, data_dir: Path) -> Source:
    """The source that a configuration names; nothing is read yet."""
    match data:
        case StdlibDataConfig():
            return StdlibSource()
        case TextDataConfig():
            return FileSource(Path(data.path), characters=data.symbols == "characters")
        case Enwik8DataConfig() | Text8DataConfig():
            archive = ENWIK8 if isinstance(data, Enwik8DataConfig) else TEXT8
            local = Path(data.archive).expanduser() if data.archive else None
            return ArchiveSource(archive, data_dir / "downloads", local)
    raise AssertionError(f"no source for {data.kind}")


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
        wanted = (path for path in relative if not self._LEFT_OUT.intersection(path.parts))
        ordered = sorted(wanted, key=lambda path: _sha256(path.as_posix().encode()))
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

    @property
    def name(self) -> str:
        return self.path.stem

    def key(self) -> str:
        return _stat_key(self.path)

    def read(self) -> bytes:
        return self.path.read_bytes()


@dataclass(frozen=True)
class Archive:
    """A published zip file with one member, and what proves that it is the right one."""

    name: str  # of the member; the file is name.zip
    base_url: str
    sha256: str  # of the zip file
    content_sha256: str | None  # of the member, where it is published
    content_md5: str | None = None


ENWIK8 = Archive(
    name="enwik8",
    base_url="http://mattmahoney.net/dc/",
    sha256="547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
    content_sha256="2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
)
TEXT8 = Archive(
    name="text8",
    base_url="http://mattmahoney.net/dc/",
    sha256="a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
    content_sha256=None,
    content_md5="3bea1919949baf155f99411df5fada7e",
)


@dataclass
class ArchiveSource:
    """A published text, downloaded once or taken from a local archive; checked either way."""

    archive: Archive
    downloads: Path
    local: Path | None = None
    characters = False

    @property
    def name(self) -> str:
        return self.archive.name

    def key(self) -> str:
        return self.archive.sha256  # the text cannot differ: it is checked on reading

    def read(self) -> bytes:
        path = self._download() if self.local is None else self._checked(self.local)
        try:
            with ZipFile(path) as zip_file:
                content = zip_file.read(self.archive.name)
        except (BadZipFile, KeyError, OSError) as error:
            raise UserError(
                f"{path}: cannot be unpacked ({error}); delete it and try again"
            ) from None
        for algorithm in ("sha256", "md5"):
            wanted = getattr(self.archive, f"content_{algorithm}")
            if wanted and hashlib.new(algorithm, content).hexdigest() != wanted:
                raise UserError(f"{path}: its text has not the {algorithm} {wanted}; delete it")
        return content

    def _checked(self, path: Path) -> Path:
        found = pooch.file_hash(str(path), alg="sha256")
        if found != self.archive.sha256:
            raise UserError(
                f"data.archive={path}: sha256 is {found}, must be {self.archive.sha256}"
            )
        return path

    def _download(self) -> Path:
        file = f"{self.archive.name}.zip"
        registry = {file: f"sha256:{self.archive.sha256}"}
        fetcher = pooch.create(
            self.downloads, self.archive.base_url, registry=registry, retry_if_failed=2
        )
        pooch.get_logger().setLevel("ERROR")
        try:
            return Path(fetcher.fetch(file, progressbar=sys.stderr.isatty()))
        except (requests.RequestException, OSError, ValueError) as error:
            offline = isinstance(error, requests.ConnectionError)
            reason = "no connection" if offline else str(error).splitlines()[0][:120]
            raise UserError(
                f"data={self.name}: cannot be had from {self.archive.base_url}{file} ({reason}); "
                f"put a copy at {self.downloads / file} or give data.archive=FILE "
                f"(sha256 {self.archive.sha256})"
            ) from None


def _stat_key(*paths: Path) -> str:
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return _sha256(json.dumps(stats).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
