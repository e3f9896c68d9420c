"""Published texts: where each is had from, and what proves that it is the right one."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from adaspan.errors import UserError


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
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.archive.sha256:
            raise UserError(
                f"data.archive={path}: sha256 is {found}, must be {self.archive.sha256}"
            )
        return path

    def _download(self) -> Path:
        import pooch  # these take a while, and most runs find their text prepared
        import requests

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
