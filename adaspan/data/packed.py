"""Packed files are unpacked as they are read; what holds no text is told by its first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, cast
from zipfile import BadZipFile, ZipFile

from adaspan.errors import UserError

HEAD_BYTES = 4096  # what is looked at

# What unpacks them, by what they begin with.
_GZIP, _BZIP2, _XZ, _ZIP = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"PK\x03\x04"
# Packed by other programs: how to unpack them.
_OTHERS = {
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -d"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4 -d"),
    b"\x1f\x9d": ("compress", "uncompress"),
    b"\x1f\xa0": ("compress", "uncompress"),
    b"\x5d\0\0": ("lzma", "unlzma"),
    b"LZIP": ("lzip", "lzip -d"),
    b"7z\xbc\xaf\x27\x1c": ("7z", "7z x"),
    b"Rar!\x1a\x07": ("rar", "unrar x"),
}
# No text, though some hold one.
_NO_TEXT = {
    b"%PDF-": "PDF",
    b"{\\rtf": "RTF",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "Microsoft Office",
    b"\x93NUMPY": "NumPy",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"SQLite format 3\0": "SQLite",
    b"\x7fELF": "ELF",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
}
# Of names of files that are unpacked here.
SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
_TAR = slice(257, 262)  # where such an archive says `ustar`
_LEFT_OUT = ("__MACOSX/", ".DS_Store")  # what a Mac puts into a zip file of its own
_MOST_NAMED = 3
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, BadZipFile, NotImplementedError)


def unpacked(file: IO[bytes], name: str) -> tuple[IO[bytes], str]:
    """What a file holds, and its format; `plain` if it is not packed.

    Args:
        file: at its beginning.
        name: of it, for messages.

    Raises:
        UserError: it is packed in a way that cannot be read here; says how to unpack it.
    """
    head, file = _peeked(file)
    for magic, (program, command) in _OTHERS.items():
        if head.startswith(magic):
            raise UserError(f"{name}: is packed with {program}; unpack it first: {command} FILE")
    openers: dict[bytes, tuple[str, Callable[[IO[bytes]], object]]] = {
        _GZIP: ("gzip", lambda packed: gzip.GzipFile(fileobj=packed)),
        _BZIP2: ("bzip2", bz2.BZ2File),
        _XZ: ("xz", lzma.LZMAFile),
        _ZIP: ("zip", lambda packed: _only_member(packed, name)),
    }
    for magic, (program, opener) in openers.items():
        if head.startswith(magic):
            with damage_as_one_line(name, program):
                return cast("IO[bytes]", opener(file)), program
    return file, "plain"


@contextmanager
def damage_as_one_line(name: str, program: str) -> Iterator[None]:
    """Name a packed file that cannot be unpacked in this block."""
    try:
        yield
    except _DAMAGED as error:
        if program == "plain":
            raise
        reason = str(error) or type(error).__name__
        raise UserError(f"{name}: cannot be unpacked by {program} ({reason})") from None


def is_packed(head: bytes) -> bool:
    """Whether a file that begins like this is unpacked here."""
    return head.startswith((_GZIP, _BZIP2, _XZ, _ZIP))


def no_text(head: bytes) -> str | None:
    """What a file is whose unpacked content begins like this; None if it may be a text."""
    if head[_TAR] == b"ustar":
        return "a tar archive"
    packed = next((program for magic, (program, _) in _OTHERS.items() if head.startswith(magic)), 0)
    if packed or is_packed(head):
        return "packed twice"
    kind = next((kind for magic, kind in _NO_TEXT.items() if head.startswith(magic)), None)
    return f"a {kind} file" if kind else None


def _peeked(file: IO[bytes]) -> tuple[bytes, IO[bytes]]:
    """The first bytes of a file, and the file with them still to be read."""
    reader = file if isinstance(file, io.BufferedReader) else io.BufferedReader(_Raw(file))
    return reader.peek(HEAD_BYTES), reader


class _Raw(io.RawIOBase):
    """A file that cannot be peeked into, as the raw part of one that can."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def _only_member(packed: IO[bytes], name: str) -> IO[bytes]:
    archive = ZipFile(packed if packed.seekable() else io.BytesIO(packed.read()))
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir()
        and not member.filename.startswith(_LEFT_OUT)
        and not member.filename.endswith(_LEFT_OUT)
    ]
    if len(members) != 1:
        named = ", ".join(member.filename for member in members[:_MOST_NAMED])
        more = ", …" if len(members) > _MOST_NAMED else ""
        raise UserError(
            f"{name}: is a zip file with {len(members)} members ({named}{more}), must have one; "
            "unpack it first: unzip FILE"
        )
    if members[0].flag_bits & 1:
        raise UserError(f"{name}: is a zip file with a password; unpack it first: unzip FILE")
    return archive.open(members[0])
