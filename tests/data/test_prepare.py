"""Texts become token files: complete or not at all, once, and again when the source changes."""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from adaspan.data.prepare import Corpus, prepare
from adaspan.data.sources import FileSource
from adaspan.errors import UserError


def decoded(corpus: Corpus) -> bytes:
    tokens = np.concatenate([corpus.train, corpus.valid, corpus.test])
    return bytes(np.array(corpus.vocabulary.symbols, np.uint8)[tokens])


def test_bytes_are_cut_90_5_5_and_nothing_is_lost(tmp_path: Path) -> None:
    content = os.urandom(1000)
    (tmp_path / "noise").write_bytes(content)
    corpus = prepare(FileSource(tmp_path / "noise", characters=False), tmp_path)
    assert (len(corpus.train), len(corpus.valid), len(corpus.test)) == (900, 50, 50)
    assert decoded(corpus) == content


def test_a_symbol_that_only_the_test_split_has_gets_an_id(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"A" * 990 + b"z" * 10)
    corpus = prepare(FileSource(tmp_path / "t", characters=False), tmp_path)
    assert len(corpus.vocabulary) == 2
    assert corpus.test[-1] == 1


def test_characters_are_unicode_code_points(tmp_path: Path) -> None:
    text = "naïve 日本語 𝄞 " * 100
    (tmp_path / "t").write_text(text, encoding="utf-8")
    corpus = prepare(FileSource(tmp_path / "t", characters=True), tmp_path)
    tokens = np.concatenate([corpus.train, corpus.valid, corpus.test])
    assert "".join(chr(corpus.vocabulary.symbols[token]) for token in tokens) == text


def test_more_than_256_symbols_fit(tmp_path: Path) -> None:
    text = "".join(chr(0x4E00 + i) for i in range(400))
    (tmp_path / "t").write_text(text, encoding="utf-8")
    corpus = prepare(FileSource(tmp_path / "t", characters=True), tmp_path)
    assert len(corpus.vocabulary) == 400
    assert corpus.train.dtype == np.uint16


def test_bytes_that_are_no_text_are_refused_as_characters(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"abc\xff\xfe" * 100)
    with pytest.raises(UserError, match=r"no UTF-8 text at byte 3; use data\.symbols=bytes"):
        prepare(FileSource(tmp_path / "t", characters=True), tmp_path)
    assert not list((tmp_path / "prepared").iterdir())


def test_prepared_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"ab" * 500)
    source = FileSource(path, characters=False)
    first = prepare(source, tmp_path)
    path_of_first = first.train.filename  # type: ignore[attr-defined]
    assert prepare(source, tmp_path).train.filename == path_of_first  # type: ignore[attr-defined]
    path.write_bytes(b"abc" * 500)
    second = prepare(source, tmp_path)
    assert second.fingerprint != first.fingerprint
    assert len(second.vocabulary) == 3


def test_files_on_disk_are_raw_arrays_and_json(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"hello world " * 100)
    prepare(FileSource(tmp_path / "t", characters=False), tmp_path)
    (folder,) = (tmp_path / "prepared").iterdir()
    assert sorted(p.name for p in folder.iterdir()) == [
        "meta.json",
        "test.bin",
        "train.bin",
        "valid.bin",
    ]
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["tokens"] == {"train": 1080, "valid": 60, "test": 60}


def _prepare(path: Path) -> int:
    return len(prepare(FileSource(path, characters=False), path.parent).train)


def test_jobs_that_start_at_once_share_one_result(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(os.urandom(200_000))
    with ProcessPoolExecutor(4) as pool:
        assert list(pool.map(_prepare, [tmp_path / "t"] * 4)) == [180_000] * 4
    assert len(list((tmp_path / "prepared").iterdir())) == 1


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"hello world " * 100)
    source = FileSource(tmp_path / "t", characters=False)
    prepare(source, tmp_path)
    (folder,) = (tmp_path / "prepared").iterdir()
    (folder / "valid.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"damaged .*delete this folder"):
        prepare(source, tmp_path)


@pytest.mark.parametrize("size", [1, 19, 200])
def test_a_text_shorter_than_its_blocks_is_refused_with_its_sizes(
    tmp_path: Path, size: int
) -> None:
    (tmp_path / "t").write_bytes(b"x" * size)
    corpus = prepare(FileSource(tmp_path / "t", characters=False), tmp_path)
    with pytest.raises(UserError, match=rf"train {len(corpus.train)}, valid {size // 20}, test"):
        corpus.require_blocks(batch_size=2, block_size=16)
