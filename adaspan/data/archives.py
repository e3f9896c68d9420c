"""Published texts: the address of each, and the digests that prove that it is the right one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen
from zipfile import BadZipFile, ZipFile

from rich.console import Console
from rich.progress import wrap_file

from adaspan.errors import UserError
from adaspan.files import replacing

_SILENCE_SECONDS = 30.0  # of a server, before the download fails
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A published zip file, and what proves that it is the right one."""

    name: str  # of the text; of the only member, too, unless there are splits
    base_url: str
    sha256: str  # of the zip file
    content_sha256: str | None  # of the member, where it is published
    content_md5: str | None = None
    characters: bool = False  # what its tokens are; otherwise bytes
    words: bool = False  # or words
    file: str = ""  # name of the zip file, if it is not name.zip
    splits: Mapping[str, str] = field(default_factory=dict)  # members; none: still to be cut


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
    characters=True,  # a byte each
)


# The zip file's sha256 is published with several data loaders; its members' are not.
WIKITEXT103 = Archive(
    name="wikitext103",
    base_url="https://wikitext.smerity.com/",
    sha256="242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590",
    content_sha256=None,
    words=True,
    file="wikitext-103-v1.zip",
    splits={split: f"wikitext-103/wiki.{split}.tokens" for split in ("train", "valid", "test")},
)


@dataclass
class ArchiveSource:
    """A published text, downloaded once or taken from a local archive; checked either way."""

    archive: Archive
    downloads: Path
    local: Path | None = None

    @property
    def name(self) -> str:
        return self.archive.name

    @property
    def characters(self) -> bool:
        return self.archive.characters

    @property
    def words(self) -> bool:
        return self.archive.words

    def key(self) -> str:
        return self.archive.sha256  # the text cannot differ: it is checked on reading

    def read(self) -> bytes | Mapping[str, bytes]:
        path = self._download() if self.local is None else self._checked(self.local)
        try:
            with ZipFile(path) as zip_file:
                if self.archive.splits:
                    return {split: zip_file.read(m) for split, m in self.archive.splits.items()}
                content = zip_file.read(self.archive.name)
        except (BadZipFile, KeyError, OSError) as error:
            raise UserError(
                f"{path}: cannot be unpacked ({error}); delete it and try again"
            ) from None
        for algorithm in ("sha256", "md5"):
            expected_digest = getattr(self.archive, f"content_{algorithm}")
            if expected_digest and hashlib.new(algorithm, content).hexdigest() != expected_digest:
                raise UserError(
                    f"{path}: the {algorithm} of its text is not {expected_digest}; delete it and "
                    "try again"
                )
        return content

    def _checked(self, path: Path) -> Path:
        sha256 = _sha256(path)
        if sha256 != self.archive.sha256:
            raise UserError(
                f"data.archive={path}: sha256 is {sha256}, must be {self.archive.sha256}"
            )
        return path

    def _download(self) -> Path:
        file = self.archive.file or f"{self.archive.name}.zip"
        path, url = self.downloads / file, self.archive.base_url + file
        if path.exists() and _sha256(path) == self.archive.sha256:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _fetch(url, path, self.archive.sha256)
        except (OSError, HTTPException, ValueError) as error:
            offline = isinstance(error, URLError) and not isinstance(error, HTTPError)
            reason = "no connection" if offline else str(error).partition("\n")[0][:120]
            raise UserError(
                f"data={self.name}: cannot be downloaded from {url} ({reason}); "
                f"put a copy at {path} or use data.archive=FILE "
                f"(sha256 {self.archive.sha256})"
            ) from None
        return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url: str, path: Path, sha256: str) -> None:
    """Download a file; `path` is replaced only by the right one, whole.

    Raises:
        ValueError: the server has something else, or broke off.
    """
    terminal = Console(stderr=True)
    request = Request(url, headers={"User-Agent": "adaspan"})
    with (
        urlopen(request, timeout=_SILENCE_SECONDS) as answer,
        wrap_file(
            answer,
            total=answer.length or 0,
            description=url,
            console=terminal,
            disable=not terminal.is_terminal,
        ) as counted,
        replacing(path) as file,
    ):
        digest = hashlib.sha256()
        while chunk := counted.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        if digest.hexdigest() != sha256:
            raise ValueError(f"its sha256 is {digest.hexdigest()}")
