"""What is in a file is looked at: unpacked, converted as asked, or refused with a way out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from adaspan.data.facts import Facts, whole_characters
from adaspan.data.textfile import Reading, TextFile
from adaspan.errors import UserError

ENGLISH = "The cat sat on a mat; it was naïve, and the café was closed.\n"
GERMAN = "Der schöne Mann grüßt die Königin über die Straße.\n"
FRENCH = "Il était une fois un garçon naïf qui préférait des crêpes brûlées.\n"
POLISH = "Wszystkie szczęśliwe rodziny są do siebie podobne, zażółć gęślą jaźń.\n"
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастна по-своему.\n"
GREEK = "Όλες οι ευτυχισμένες οικογένειες μοιάζουν μεταξύ τους.\n"
HEBREW = "כל המשפחות המאושרות דומות זו לזו, כל משפחה אומללה בדרכה שלה.\n"
ARABIC = "كل العائلات السعيدة متشابهة، لكن كل عائلة تعيسة على طريقتها الخاصة.\n"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n"
SIMPLIFIED = "幸福的家庭都是相似的，不幸的家庭各有各的不幸。妻子发现丈夫在家里。\n"
TRADITIONAL = "幸福的家庭都是相似的，不幸的家庭各有各的不幸。妻子發現丈夫在家裡。\n"
KOREAN = "행복한 가정은 모두 모습이 비슷하고, 불행한 가정은 모두 제각각이다.\n"


def read(path: Path, encoding: str | None = None, *, as_bytes: bool = True) -> tuple[bytes, Facts]:
    file = TextFile(path, "text", Reading(encoding, as_bytes=as_bytes))
    content = b"".join(file)
    assert file.facts
    return content, file.facts


def refused(path: Path, encoding: str | None = None, *, as_bytes: bool = True) -> str:
    with pytest.raises(UserError) as error:
        read(path, encoding, as_bytes=as_bytes)
    assert "\n" not in str(error.value)
    return str(error.value)


def zipped(content: bytes, *names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


def tarred(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("text")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize(
    ("format", "pack"),
    [
        ("plain", bytes),
        ("gzip", gzip.compress),
        ("bzip2", bz2.compress),
        ("xz", lzma.compress),
        ("zip", lambda content: zipped(content, "text")),
        ("zip", lambda content: zipped(content, "__MACOSX/._text", "text", ".DS_Store")),
    ],
)
def test_packed_files_are_unpacked(
    tmp_path: Path, format: str, pack: Callable[[bytes], bytes]
) -> None:
    content = ENGLISH.encode() * 5_000  # several pieces
    (tmp_path / "any name").write_bytes(pack(content))
    assert read(tmp_path / "any name") == (
        content,
        Facts(format, "UTF-8", "LF", len(content.decode())),
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x28\xb5\x2f\xfd text", "is packed with zstd; unpack it first: zstd -d FILE"),
        (b"7z\xbc\xaf\x27\x1c text", "is packed with 7z; unpack it first: 7z x FILE"),
        (zipped(b"x", "a", "b"), "is a zip file with 2 members (a, b), must have one; unpack"),
        (zipped(b"x"), "is no text: "),
        (gzip.compress(b"text" * 99)[:-9], "cannot be unpacked by gzip (Compressed file ended"),
        (lzma.compress(b"text" * 99)[:-30], "cannot be unpacked by xz (Compressed file ended"),
        (bz2.compress(b"text")[:9] + b"x" * 99, "cannot be unpacked by bzip2 (Invalid data"),
        (gzip.compress(gzip.compress(b"text")), "is packed twice; unpack it first"),
        (tarred(b"text"), "is a tar archive, no text; "),
        (gzip.compress(tarred(b"text")), "is a tar archive, no text; "),
        (b"%PDF-1.7 text", "is a PDF file, no text; "),
        (b"\x7fELF" + bytes(99), "is a ELF file, no text; "),
        (bytes(range(256)) * 9, "is no text: 9.8 % of it are control characters; "),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "is not the text but a pointer of Git to it; fetch it with `git lfs pull` or `git",
        ),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_is_no_text_is_refused_by_name(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "t").write_bytes(content)
    assert refused(tmp_path / "t").startswith(f"text: {told}")


@pytest.mark.parametrize(
    "page",
    [
        "<!DOCTYPE html>\n<html><body>404 Not Found</body></html>",
        "\n <HTML lang=en><head>",
        "<!-- made by a proxy --><html>",
        '<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN">',
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code></Error>',
    ],
)
def test_a_web_page_in_place_of_a_download_is_asked_about(tmp_path: Path, page: str) -> None:
    path = tmp_path / "t"
    path.write_text(page)
    told = refused(path)
    assert told.startswith("text: is a web page (HTML or an error in XML), perhaps in place of a ")
    assert read(path, encoding_advised(told))[0] == page.encode()


def test_xml_that_is_no_page_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "t").write_text('<mediawiki xml:lang="en"><page><title>html</title></page>')
    assert read(tmp_path / "t")[1].encoding == "ASCII"


def encoding_advised(told: str) -> str:
    """The value of the first data.encoding= in a message."""
    advised = re.search(r"data\.encoding=([\w-]+)", told)
    assert advised, told
    return advised[1]


@pytest.mark.parametrize("as_bytes", [True, False])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (ENGLISH, "utf-16"),
        (ENGLISH, "utf-32"),
        (ENGLISH, "utf-16-le"),
        (RUSSIAN, "utf-16-be"),
        (SIMPLIFIED, "utf-16-le"),
        (ENGLISH, "utf-32-be"),
        (ENGLISH, "latin-1"),
        (ENGLISH, "mac-roman"),
        (GERMAN, "cp1252"),
        (GERMAN, "cp850"),
        (FRENCH, "latin-1"),
        (POLISH, "cp1250"),
        (POLISH, "iso8859-2"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (RUSSIAN, "cp866"),
        (RUSSIAN, "iso8859-5"),
        (GREEK, "cp1253"),
        (HEBREW, "cp1255"),
        (ARABIC, "cp1256"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        (SIMPLIFIED, "gb18030"),
        (TRADITIONAL, "big5"),
        (KOREAN, "euc_kr"),
    ],
)
def test_another_encoding_is_recognised_and_the_advice_works(
    tmp_path: Path, text: str, encoding: str, as_bytes: bool
) -> None:
    path = tmp_path / "t"
    path.write_bytes((text * 30).encode(encoding))
    told = refused(path, as_bytes=as_bytes)
    advised = encoding_advised(told)
    content, facts = read(path, advised, as_bytes=as_bytes)
    assert content.decode() == text * 30
    assert facts.encoding == f"{advised}, converted to UTF-8"
    assert told.endswith("data.encoding=raw takes its bytes as they are")
    assert ("data.symbols=bytes" in told) == (not as_bytes)
    raw, facts = read(path, "raw")
    assert raw == path.read_bytes()
    assert facts.told == "bytes · no text" or encoding == "iso2022_jp"


def test_a_stray_letter_after_much_ascii_is_found(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"plain words in a row\n" * 40_000 + "die Straße\n".encode("latin-1"))
    told = refused(path)
    assert told.startswith("text: is no UTF-8 text at byte 840008, but looks like cp1252; data.")
    assert read(path, encoding_advised(told))[0].endswith("Straße\n".encode())


def test_a_byte_order_mark_is_no_symbol(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"\xef\xbb\xbf" + ENGLISH.encode())
    assert read(path)[0] == read(path, "utf-8")[0] == ENGLISH.encode()
    assert read(path)[1].encoding == "UTF-8, its byte-order mark left out"
    assert read(path, "raw")[0] == path.read_bytes()
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        path.write_bytes(("\ufeff" * encoding.endswith("le") + ENGLISH).encode(encoding))
        assert read(path, encoding)[0] == ENGLISH.encode()


def test_damage_is_told_and_replaced_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "t"
    damaged = RUSSIAN.encode() * 20 + b"\xd0 " + RUSSIAN.encode() * 20
    path.write_bytes(damaged)
    content, facts = read(path)
    assert (content, facts.undecodable) == (damaged, 1), "bytes need no UTF-8"
    assert facts.told == "UTF-8 · newlines LF · no UTF-8 at 1 places"
    told = refused(path, as_bytes=False)
    assert told.startswith(f"text: is no UTF-8 text at byte {20 * len(RUSSIAN.encode())}; data.enc")
    content, facts = read(path, encoding_advised(told), as_bytes=False)
    assert content.decode() == damaged.decode(errors="replace")
    assert (facts.replaced, facts.characters) == (1, 40 * len(RUSSIAN) + 2)
    assert "1 characters (0.035 %) are U+FFFD, unreadable" in facts.told


def test_a_text_that_is_cut_within_a_character_may_be_read_as_bytes(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"plain text " * 9 + "日".encode()[:2])
    assert read(path)[0] == path.read_bytes()
    told = refused(path, as_bytes=False)
    assert read(path, encoding_advised(told), as_bytes=False)[1].replaced == 1


def test_a_wrong_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(RUSSIAN.encode("cp1251") * 20)
    told = refused(tmp_path / "t", "utf-8")
    assert re.match(r"text: \d+ % of it is no utf-8; data\.encoding=cp1251 converts it", told)


@pytest.mark.parametrize(
    ("content", "newlines"),
    [
        (b"a\nb\n", "LF"),
        (b"a\r\nb\r\n", "CRLF"),
        (b"a\rb", "CR"),
        (b"a\nb\r\nc\r", "LF and CRLF and CR"),
        (b"ab", "none"),
        (b"a" * (2**18 - 1) + b"\r\nb", "CRLF"),
    ],
)
def test_newlines_are_told(tmp_path: Path, content: bytes, newlines: str) -> None:
    (tmp_path / "t").write_bytes(content)
    assert read(tmp_path / "t")[1].newlines == newlines


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_pieces_end_at_the_ends_of_characters(size: int) -> None:
    content = "aé日𝄞".encode() * 9
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    pieces = [*whole_characters(chunks)]
    assert b"".join(pieces) == content
    assert "".join(piece.decode() for piece in pieces) == content.decode()
    noise = bytes(range(256)) * 2
    assert b"".join(whole_characters([noise, noise])) == noise * 2


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "t") == "text: No such file or directory"
    assert refused(tmp_path) == "text: Is a directory"
    assert refused(Path("/dev/zero")) == "text: is a device, must be a file"
