"""Published texts: the address of each, and the digests that prove that it is the right one."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen
from zipfile import BadZipFile, ZipFile

from rich.console import Console
from rich.progress import wrap_file

from adaspan.data.digest import file_sha256
from adaspan.data.textfile import RAW, Reading, TextFile
from adaspan.errors import UserError
from adaspan.files import replacing
from adaspan.places import shown

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

    @property
    def file_name(self) -> str:
        return self.file or f"{self.name}.zip"


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

    def read(self) -> Iterable[bytes] | Mapping[str, Iterable[bytes]]:
        path = self.local or self._download()
        if self.local and file_sha256(path) != self.archive.sha256:
            return self._packed_otherwise(path)
        if not self.archive.splits:
            member = _Member(path, self.archive.name)
            return _Checked(member, self.archive, f"{path}: is damaged, delete it")
        return {split: _Member(path, member) for split, member in self.archive.splits.items()}

    def _packed_otherwise(self, path: Path) -> Iterable[bytes]:
        """The text of a local file that is not the published one, but may hold its text."""
        name, archive = f"data.archive={shown(path)}", self.archive
        mistake = (
            f"{name}: sha256 is {file_sha256(path)}, must be {archive.sha256}, which the published "
            f"{archive.file_name} has; "
        )
        if archive.splits:
            raise UserError(f"{mistake}the folder that was unpacked from it will do, too")
        text = TextFile(path, name, Reading(RAW))
        return _Checked(text, archive, f"{mistake}nor is it the text of this zip file")

    def _download(self) -> Path:
        file = self.archive.file_name
        path, url = self.downloads / file, self.archive.base_url + file
        if path.exists() and file_sha256(path) == self.archive.sha256:
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


@dataclass(frozen=True)
class _Member:
    """A file within a zip file."""

    path: Path
    name: str

    def __iter__(self) -> Iterator[bytes]:
        try:
            with ZipFile(self.path) as archive, archive.open(self.name) as member:
                while chunk := member.read(_CHUNK_BYTES):
                    yield chunk
        except (BadZipFile, KeyError, OSError, zlib.error) as error:
            raise UserError(
                f"{self.path}: cannot be unpacked ({error}); delete it and try again"
            ) from None


@dataclass(frozen=True)
class _Checked:
    """A text that ends in an error unless it is the published one.

    Args:
        text: to be checked.
        archive: has the digests.
        mistake: what is wrong then.
    """

    text: Iterable[bytes]
    archive: Archive
    mistake: str

    def __iter__(self) -> Iterator[bytes]:
        published = {
            algorithm: (hashlib.new(algorithm), wanted)
            for algorithm in ("sha256", "md5")
            if (wanted := getattr(self.archive, f"content_{algorithm}"))
        }
        for chunk in self.text:
            for digest, _ in published.values():
                digest.update(chunk)
            yield chunk
        for algorithm, (digest, wanted) in published.items():
            if digest.hexdigest() != wanted:
                raise UserError(f"{self.mistake}; its text's {algorithm} is not {wanted}")


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
