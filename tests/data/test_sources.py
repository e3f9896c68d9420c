"""Where texts come from: the standard library, files, published archives."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaspan.config.kinds.data import (
    Enwik8DataConfig,
    StdlibDataConfig,
    Text8DataConfig,
    TextDataConfig,
)
from adaspan.data.archives import ENWIK8, TEXT8, ArchiveSource
from adaspan.data.sources import StdlibSource


def test_published_archives_are_named_by_the_configuration(tmp_path: Path) -> None:
    enwik8 = Enwik8DataConfig().build(tmp_path)
    text8 = Text8DataConfig(archive="~/text8.zip").build(tmp_path)
    assert isinstance(enwik8, ArchiveSource)
    assert isinstance(text8, ArchiveSource)
    assert enwik8.archive is ENWIK8
    assert text8.archive is TEXT8
    assert text8.local == Path("~/text8.zip").expanduser()


@pytest.mark.slow
def test_the_standard_library_is_real_text_without_its_tests(tmp_path: Path) -> None:
    source = StdlibDataConfig().build(tmp_path)
    assert isinstance(source, StdlibSource)
    text = b"".join(source.read())
    assert 8e6 < len(text) < 30e6
    assert b"class JSONDecoder" in text
    assert b"class TestCase(unittest.TestCase)" not in text
    assert source.key() == StdlibSource().key()


def test_a_name_that_leads_nowhere_is_told_and_not_a_trace(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    for path, told in (
        (str(tmp_path / "circle"), "Too many levels of symbolic links"),
        ("~nobody-of-this-name/text", "no such file"),
    ):
        config = TextDataConfig(path=path)
        config.make_paths_absolute()
        (line,) = config.mistakes()
        assert line.endswith(f": {told}")
