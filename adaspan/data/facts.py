"""What a text turned out to be: its format, its encoding, its newlines, what of it is damaged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_CHUNK_BYTES = 1 << 18
_CONTROLS = 0.01  # of the bytes of a text, at most
_DAMAGE = 0.01  # of the characters beyond ASCII; more is no UTF-8
_REPLACEMENT = "\ufffd".encode()
# Text has none of these: control characters, but for those that move a printer, and escape.
_NO_CONTROLS = bytes(set(range(256)) - {*range(7), *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F})
_NO_LEADS = bytes(range(0xC0))  # all but the first bytes of UTF-8 characters beyond ASCII


@dataclass(frozen=True)
class Facts:
    """What a text turned out to be.

    Args:
        format: `plain`, or what it was packed by.
        encoding: `ASCII`, `UTF-8`, what it was converted from, or `bytes`, which are no text.
        newlines: `LF`, `CRLF`, `CR`, several of them, or `none`.
        characters: how many it has.
        replaced: how many of these are U+FFFD, which stands for what could not be read.
        undecodable: places that are no UTF-8.
    """

    format: str
    encoding: str
    newlines: str
    characters: int
    replaced: int = 0
    undecodable: int = 0

    @property
    def told(self) -> str:
        """As a person reads it."""
        parts = [self.format] * (self.format != "plain") + [self.encoding]
        if self.encoding == "bytes":
            return " · ".join([*parts, "no text"])
        parts.append("no newlines" if self.newlines == "none" else f"newlines {self.newlines}")
        if self.replaced:
            share = 100 * self.replaced / self.characters
            parts.append(f"{self.replaced:,} characters ({share:.2g} %) are U+FFFD, unreadable")
        if self.undecodable:
            parts.append(f"no UTF-8 at {self.undecodable:,} places")
        return " · ".join(parts)


def joined(parts: Iterable[Facts]) -> Facts:
    """Of the parts of a text, those of the whole."""
    facts = list(parts)

    def all_of(kinds: Iterable[str]) -> str:
        return " and ".join(dict.fromkeys(kinds))

    return Facts(
        format=all_of(part.format for part in facts),
        encoding=all_of(part.encoding for part in facts),
        newlines=all_of(part.newlines for part in facts),
        characters=sum(part.characters for part in facts),
        replaced=sum(part.replaced for part in facts),
        undecodable=sum(part.undecodable for part in facts),
    )


def read_facts(written: Mapping[str, object]) -> Facts:
    """What `dataclasses.asdict` made of some."""
    return Facts(**written)  # type: ignore[arg-type]


class Survey:
    """Counts what a text has, piece by piece. Pieces end at the ends of characters."""

    def __init__(self) -> None:
        self.size = 0
        self.controls = 0
        self.beyond_ascii = 0  # characters
        self.undecodable = 0  # places
        self.first_undecodable = 0  # byte
        self.replaced = 0
        self.characters = 0
        self._lf = self._cr = self._crlf = 0
        self._ends_in_cr = False
        self._begun = 0  # bytes at the end

    @property
    def is_utf8(self) -> bool:
        """Whether what cannot be decoded is only damage."""
        return self.undecodable <= _DAMAGE * self.beyond_ascii

    @property
    def has_controls(self) -> bool:
        """Whether it has more control characters than a text."""
        return self.controls > _CONTROLS * self.size

    @property
    def is_cut_off(self) -> bool:
        """Whether all is UTF-8 but for a last character that is not complete."""
        end = self.size - self._begun
        return self.undecodable == 1 and self._begun > 0 and self.first_undecodable == end

    def feed(self, piece: bytes) -> None:
        self.controls += len(piece.translate(None, _NO_CONTROLS))
        self._lf += piece.count(b"\n")
        self._cr += piece.count(b"\r")
        self._crlf += piece.count(b"\r\n") + (self._ends_in_cr and piece.startswith(b"\n"))
        self._ends_in_cr = piece.endswith(b"\r")
        if piece.isascii():
            self.characters += len(piece)
        else:
            self._decode(piece)
        self._begun = _begun(piece)
        self.size += len(piece)

    def _decode(self, piece: bytes) -> None:
        replaced = piece.count(_REPLACEMENT)
        try:
            text = piece.decode()
        except UnicodeDecodeError as error:
            if not self.undecodable:
                self.first_undecodable = self.size + error.start
            text = piece.decode(errors="replace")
            self.undecodable += text.count("\ufffd") - replaced
        self.replaced += replaced
        self.characters += len(text)
        self.beyond_ascii += len(piece.translate(None, _NO_LEADS))

    def facts(self, format: str = "plain", encoding: str | None = None) -> Facts:
        """Args: what it was packed by, and what it was converted from."""
        own = "UTF-8" if self.beyond_ascii else "ASCII"
        known = encoding or (own if self.is_utf8 and not self.has_controls else "bytes")
        return Facts(
            format, known, self._newlines(), self.characters, self.replaced, self.undecodable
        )

    def _newlines(self) -> str:
        kinds = {"LF": self._lf - self._crlf, "CRLF": self._crlf, "CR": self._cr - self._crlf}
        return " and ".join(kind for kind, count in kinds.items() if count) or "none"


def whole_characters(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of at most 256 KB that do not end within a character of UTF-8."""
    begun = b""
    for chunk in chunks:
        for start in range(0, len(chunk), _CHUNK_BYTES):
            piece = begun + chunk[start : start + _CHUNK_BYTES]
            end = len(piece) - _begun(piece)
            begun = piece[end:]
            if end:
                yield piece[:end]
    if begun:
        yield begun


def _begun(piece: bytes) -> int:
    """How many bytes at the end begin a character that is not complete."""
    for count in range(1, min(4, len(piece) + 1)):
        byte = piece[-count]
        if byte >= 0xC0:
            needed = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return count if count < needed else 0
        if byte < 0x80:
            return 0
    return 0
