"""A text in a file: unpacked, looked at, and converted to UTF-8 where that is asked for."""

from __future__ import annotations

import codecs
import hashlib
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from adaspan.data.digest import file_sha256, remembered
from adaspan.data.facts import Facts, Survey, whole_characters
from adaspan.data.guess import guess, guess_wide
from adaspan.data.packed import HEAD_BYTES, damage_as_one_line, is_packed, no_text, unpacked
from adaspan.errors import UserError

RAW = "raw"  # in place of an encoding: the bytes as they are once unpacked, whatever they are
_CHUNK_BYTES = 1 << 18
_BOM = codecs.BOM_UTF8
_MARKS = {  # UTF-32 first, whose mark begins like one of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_ESCAPES = (b"\x1b$B", b"\x1b$@", b"\x1b(J")  # of ISO-2022-JP
_POINTERS = (b"version https://git-lfs.github.com/spec/", b"/annex/objects/")
_HTML = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype\s+html|<html[\s>]|<error>)", re.I | re.DOTALL
)
_ENOUGH = 1 << 14  # bytes by which an encoding is told
_SAMPLES = 1 << 16
# Of the characters that were converted; more cannot be read, and it is another encoding.
_REPLACED = 0.01


@dataclass(frozen=True)
class Reading:
    """How a text is to be read.

    Args:
        encoding: None: UTF-8 is expected, and what is something else is refused, with the way out;
            the name of one: it is converted, and what cannot be is U+FFFD; `raw`: the bytes as
            they are once unpacked.
        option: how a user asks for one, up to its name; empty: there is no way.
        as_bytes: whether tokens are bytes, which need not be UTF-8 everywhere.
    """

    encoding: str | None = None
    option: str = "data.encoding="
    as_bytes: bool = True


class TextFile:
    """A text in a file, in pieces of whole characters, as often as it is iterated.

    Args:
        path: of the file.
        name: of it, for messages.
        reading: how.
    """

    def __init__(self, path: Path, name: str, reading: Reading) -> None:
        self.path = path
        self._name = name
        self._reading = reading
        self.facts: Facts | None = None  # once it was read to its end
        self.share_read = 0.0  # of the file

    def sha256(self) -> str:
        """Of the text: that of the file, unless it is packed, marked or to be converted.

        Raises:
            UserError: the file cannot be read, or must be converted and is not what it should be.
        """
        try:
            with self.path.open("rb") as file:
                head = file.read(HEAD_BYTES)
            is_marked = self._reading.encoding is None and head.startswith(_BOM)
            if not is_marked and not is_packed(head) and self._reading.encoding in (None, RAW):
                return file_sha256(self.path)
            return remembered(self.path, f"text {self._reading}", self._sha256)
        except OSError as error:
            raise UserError(f"{self._name}: {error.strerror or error}") from None

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for piece in self:
            digest.update(piece)
        return digest.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        """Raises `UserError` where the file cannot be read, or is not what it should be."""
        try:
            refuse_device(self.path, self._name)
            with self.path.open("rb") as file:
                size = self.path.stat().st_size or 1
                for piece in self.read(file):
                    self.share_read = file.tell() / size if file.seekable() else 0.0
                    yield piece
        except OSError as error:
            raise UserError(f"{self._name}: {error.strerror or error}") from None

    def read(self, file: IO[bytes]) -> Iterator[bytes]:
        """The same of a file that is open, from where it stands."""
        text, packing = unpacked(file, self._name)
        with damage_as_one_line(self._name, packing):
            chunks = _chunks(text)
            if self._reading.encoding == RAW:
                yield from self._watched(chunks, Survey(), packing, None)
                return
            head = next(chunks, b"")
            self._refuse_no_text(head)
            chunks = _with_head(head, chunks)
            if self._reading.encoding:
                yield from self._converted(chunks, packing, self._reading.encoding)
            else:
                yield from self._expected(chunks, packing, head)

    def _expected(self, chunks: Iterator[bytes], packing: str, head: bytes) -> Iterator[bytes]:
        """Of UTF-8, or refused."""
        self._refuse_mark(head)
        known = None
        if head.startswith(_BOM):
            chunks = _with_head(next(chunks)[len(_BOM) :], chunks)
            known = "UTF-8, its byte-order mark left out"
        survey = Survey()
        sample = b""
        for piece in self._watched(chunks, survey, packing, known):
            if survey.undecodable and len(sample) < _SAMPLES:
                sample += _around(piece)
            if survey.size == len(piece):  # the first
                self._judge(survey, sample, piece)
            yield piece
        self._judge(survey, sample, head)

    def _converted(self, chunks: Iterator[bytes], packing: str, encoding: str) -> Iterator[bytes]:
        survey, begin = Survey(), b""
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")

        def decoded() -> Iterator[bytes]:
            nonlocal begin
            first = True
            for chunk in chunks:
                begin = begin or chunk[:_SAMPLES]
                text = decoder.decode(chunk)
                yield (text.removeprefix("\ufeff") if first else text).encode(errors="replace")
                first = first and not text
            yield decoder.decode(b"", final=True).encode(errors="replace")

        plain = codecs.lookup(encoding).name == "utf-8"
        yield from self._watched(
            decoded(), survey, packing, None if plain else f"{encoding}, converted to UTF-8"
        )
        if survey.replaced > _REPLACED * survey.characters:
            share = 100 * survey.replaced / survey.characters
            ways_out = self._ways_out(guess(begin))
            raise UserError(f"{self._name}: {share:.2g} % of it is no {encoding}; {ways_out}")

    def _watched(
        self, chunks: Iterable[bytes], survey: Survey, packing: str, encoding: str | None
    ) -> Iterator[bytes]:
        for piece in whole_characters(chunks):
            survey.feed(piece)
            yield piece
        self.facts = survey.facts(packing, encoding)

    def _refuse_no_text(self, head: bytes) -> None:
        kind = no_text(head)
        if kind == "packed twice":
            raise UserError(f"{self._name}: is packed twice; unpack it first")
        if kind and not self._reading.encoding:
            raise UserError(f"{self._name}: is {kind}, no text{self._or_raw()}")
        if self._reading.encoding:
            return
        if head.startswith(_POINTERS):
            raise UserError(
                f"{self._name}: is not the text but a pointer of Git to it; fetch it with "
                "`git lfs pull` or `git annex get`"
            )
        if _HTML.match(head[:HEAD_BYTES]):
            meant = self._reading.option and f", or {self._reading.option}utf-8 if it is the text"
            raise UserError(
                f"{self._name}: is a web page (HTML or an error in XML), perhaps in place of a "
                f"download that failed; download it again{meant}"
            )

    def _refuse_mark(self, head: bytes) -> None:
        known = next((known for mark, known in _MARKS.items() if head.startswith(mark)), None)
        if known is None and any(escape in head for escape in _ESCAPES):
            known = "iso2022_jp"
        if known:
            raise UserError(f"{self._name}: is no UTF-8 but {known}, {self._ways_out(known)}")

    def _judge(self, survey: Survey, sample: bytes, piece: bytes) -> None:
        """Refuse what is no text, and what is text of another encoding."""
        if survey.has_controls:
            wide = guess_wide(piece[:_ENOUGH])
            if wide:
                raise UserError(f"{self._name}: is no UTF-8 but {wide}, {self._ways_out(wide)}")
            share = 100 * survey.controls / survey.size
            raise UserError(
                f"{self._name}: is no text: {share:.2g} % of it are control characters"
                f"{self._or_raw()}"
            )
        is_damage = survey.is_utf8 or survey.is_cut_off
        if not survey.undecodable or (self._reading.as_bytes and is_damage):
            return
        where = f"is no UTF-8 text at byte {survey.first_undecodable}"
        if is_damage:
            ways = [self._option("utf-8", "replaces what is not"), self._bytes_instead()]
            raise UserError(f"{self._name}: {where}{_either(ways)}")
        known = guess(sample)
        looks = f", but looks like {known}" if known else ""
        raise UserError(f"{self._name}: {where}{looks}; {self._ways_out(known)}")

    def _ways_out(self, encoding: str | None) -> str:
        """What to do about an encoding, which may be unknown."""
        if not self._reading.option:
            return "convert it to UTF-8 first"
        if encoding:
            ways = [self._option(encoding, "converts it")]
        else:
            ways = [self._option("latin-1", "(or another name) converts it")]
        return _either([*ways, self._bytes_instead()]).removeprefix("; ")

    def _or_raw(self) -> str:
        return _either([self._bytes_instead()])

    def _bytes_instead(self) -> str:
        """How to read the bytes as they are, where that can be."""
        if self._reading.as_bytes:
            return self._option(RAW, "takes its bytes as they are")
        if self._reading.option.startswith("data."):
            both = f"data.symbols=bytes {self._reading.option}{RAW}"
            return f"{both} takes its bytes as they are"
        return ""

    def _option(self, encoding: str, does: str) -> str:
        return self._reading.option and f"{self._reading.option}{encoding} {does}"


def refuse_device(path: Path, name: str) -> None:
    """Raises `UserError` for what never ends."""
    mode = path.stat().st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise UserError(f"{name}: is a device, must be a file")


def is_encoding(name: str) -> bool:
    """Whether Python can convert it."""
    try:
        bytes(4).decode(name)  # of no bytes it would not be looked up
        codecs.getincrementaldecoder(name)
    except (LookupError, ValueError):
        return name == RAW
    return True


def _either(ways: list[str]) -> str:
    known = ", ".join(filter(None, ways))
    return known and f"; {known}"


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _with_head(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from chunks


def _around(piece: bytes) -> bytes:
    """The bytes around the first that is no UTF-8; none if there is none."""
    try:
        piece.decode()
    except UnicodeDecodeError as error:
        start = max(0, error.start - _ENOUGH // 8)
        return piece[start : start + _ENOUGH]
    return b""
