"""Published texts: downloaded or taken from a local archive, checked either way."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from adaspan.data.archives import Archive, ArchiveSource
from adaspan.errors import UserError

CONTENT = b"all work and no play " * 50


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the loopback address at which it can be downloaded from."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def content(source: ArchiveSource) -> bytes:
    text = source.read()
    assert not isinstance(text, Mapping)
    return b"".join(text)


def make_archive(folder: Path, base_url: str, content: bytes = CONTENT) -> Archive:
    with zipfile.ZipFile(folder / "book.zip", "w") as archive:
        archive.writestr("book", content)
    return Archive(
        name="book",
        base_url=base_url,
        sha256=sha256((folder / "book.zip").read_bytes()),
        content_sha256=sha256(CONTENT),
    )


def test_an_archive_is_downloaded_once_and_checked(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = served
    source = ArchiveSource(make_archive(folder, address), tmp_path / "downloads")
    assert content(source) == CONTENT
    (folder / "book.zip").unlink()
    assert content(source) == CONTENT
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["book.zip"]


def test_a_download_with_another_checksum_is_refused(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = served
    archive = make_archive(folder, address)
    (folder / "book.zip").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"data=book: cannot be downloaded .*its sha256 is"):
        content(ArchiveSource(archive, tmp_path / "downloads"))
    assert not list((tmp_path / "downloads").iterdir())


def test_a_damaged_download_is_replaced(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "book.zip").write_bytes(b"half of it")
    assert content(ArchiveSource(make_archive(folder, address), tmp_path / "downloads")) == CONTENT


def test_what_the_server_answers_is_told(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    archive = make_archive(folder, address)
    (folder / "book.zip").unlink()
    with pytest.raises(UserError, match=r"book\.zip \(HTTP Error 404: File not found\)"):
        content(ArchiveSource(archive, tmp_path / "downloads"))


def test_without_a_network_the_message_says_what_to_do(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, "http://127.0.0.1:9/")
    with pytest.raises(UserError) as error:
        content(ArchiveSource(archive, tmp_path / "downloads"))
    message = str(error.value)
    assert "http://127.0.0.1:9/book.zip (no connection)" in message
    assert str(tmp_path / "downloads" / "book.zip") in message
    assert "data.archive=FILE" in message
    assert archive.sha256 in message


def test_a_local_archive_is_accepted_and_checked(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, "http://127.0.0.1:9/")
    assert content(ArchiveSource(archive, tmp_path, tmp_path / "book.zip")) == CONTENT
    (tmp_path / "other.zip").write_bytes(b"something else")
    with pytest.raises(UserError, match=rf"other\.zip: sha256 is .* must be {archive.sha256}"):
        content(ArchiveSource(archive, tmp_path, tmp_path / "other.zip"))


def test_the_text_inside_is_checked_too(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, "http://127.0.0.1:9/", content=b"another text")
    with pytest.raises(UserError, match="is damaged, delete it; its text's sha256 is not"):
        content(ArchiveSource(archive, tmp_path, tmp_path / "book.zip"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_text_of_an_archive_will_do_unpacked_or_packed_otherwise(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    archive = make_archive(tmp_path, "http://127.0.0.1:9/")
    (tmp_path / "book").write_bytes(pack(CONTENT))
    assert content(ArchiveSource(archive, tmp_path, tmp_path / "book")) == CONTENT
    (tmp_path / "book").write_bytes(pack(CONTENT + b"more"))
    with pytest.raises(
        UserError, match=r"which the published book\.zip has; nor is it the text of"
    ):
        content(ArchiveSource(archive, tmp_path, tmp_path / "book"))
