"""Two files that do the same have one digest, however they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaspan.runs.code.syntax import digest_of, digests_of

WRITTEN = b'''"""A page of text."""
import math  # for pi

def area(radius: float, *, scale: float = 1.0) -> float:
    """In square metres."""
    return scale * math.pi * radius**2
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"A page of text.", b"Another page."),
        (b"  # for pi", b""),
        (b"    return", b"\n    # twice\n    return"),
        (b"scale * math.pi", b"(scale*math . pi)"),
        (
            b"radius: float, *, scale: float = 1.0",
            b"\n    radius: float,\n    *, scale: float=1.0,\n",
        ),
        (b"1.0", b"1.00"),
        (b"\n", b"\r\n"),
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(old: bytes, new: bytes) -> None:
    assert old in WRITTEN
    assert digest_of(WRITTEN.replace(old, new)) == digest_of(WRITTEN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"radius**2", b"radius**3"),
        (b"scale * math.pi * radius", b"scale * (math.pi * radius)"),
        (b"1.0", b"1"),
        (b"math.pi", b"math.tau"),
        (b"*, ", b""),
        (b"    return", b"    radius = 1\n    return"),
        (b"import math", b"import cmath as math"),
    ],
)
def test_whatever_is_executed_counts(old: bytes, new: bytes) -> None:
    assert old in WRITTEN
    assert digest_of(WRITTEN.replace(old, new)) != digest_of(WRITTEN)


def test_a_digest_is_the_same_with_every_version_of_python() -> None:
    """Which know of more parts of a function from version to version; all are empty here."""
    assert digest_of(WRITTEN) == "7cd05966a2d5"


@pytest.mark.parametrize("content", [b"def", b"x = 'a\0b'", b"# coding: klingon\n", b"\xff\xfe"])
def test_what_is_no_python_counts_by_its_bytes(content: bytes) -> None:
    assert digest_of(content) != digest_of(content + b" ")


def test_what_was_found_is_kept_and_nothing_depends_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    for file in files:
        file.write_text(f"name = '{file.stem}'")
    kept = tmp_path / "kept"
    expected = [digest_of(file.read_bytes()) for file in files]
    assert digests_of(files, kept) == expected, "without the folder"
    kept.mkdir()
    assert digests_of(files, kept) == expected
    (written,) = kept.iterdir()
    assert all(digest in written.read_text() for digest in expected)
    for damaged in ("", "[1]", "{"):
        written.write_text(damaged)
        assert digests_of(files, kept) == expected
    files[0].write_text("edited = True")
    assert digests_of(files, kept) == [digest_of(b"edited = True"), expected[1]]
