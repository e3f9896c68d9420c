"""Texts become token files: complete or not at all, once, and again when the source changes."""

from __future__ import annotations

import hashlib
import json
import random
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaspan.config.kinds.data import DataConfig, corpus_of
from adaspan.config.kinds.registry import register
from adaspan.data.prepare import Corpus, _partial, prepare
from adaspan.data.sources import FileSource
from adaspan.errors import UserError


def decoded(corpus: Corpus) -> bytes:
    tokens = np.concatenate([corpus.train, corpus.valid, corpus.test])
    return bytes(np.array(corpus.vocabulary.symbols, np.uint8)[tokens])


def test_bytes_are_cut_90_5_5_and_nothing_is_lost(tmp_path: Path) -> None:
    content = random.randbytes(1000)
    (tmp_path / "noise").write_bytes(content)
    corpus = prepare(FileSource(tmp_path / "noise", characters=False, encoding="raw"), tmp_path)
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
    with pytest.raises(
        UserError, match=r"no UTF-8 text at byte 3; .*data\.symbols=bytes data\.encoding=raw"
    ):
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
    return len(prepare(FileSource(path, characters=False, encoding="raw"), path.parent).train)


def test_jobs_that_start_at_once_share_one_result(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(random.randbytes(200_000))
    with ProcessPoolExecutor(4) as pool:
        assert list(pool.map(_prepare, [tmp_path / "t"] * 4)) == [180_000] * 4
    assert len(list((tmp_path / "prepared").iterdir())) == 1


@pytest.mark.parametrize("name", ["train.bin", "valid.bin", "test.bin", "meta.json"])
def test_a_flipped_bit_is_told_and_mended(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t").write_bytes(b"hello world " * 100)
    source = FileSource(tmp_path / "t", characters=False)
    prepare(source, tmp_path)
    (folder,) = (tmp_path / "prepared").iterdir()
    whole = (folder / name).read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    (folder / name).write_bytes(damaged)
    assert decoded(prepare(source, tmp_path)) == b"hello world " * 100
    assert f"{folder}: damaged (" in capsys.readouterr().err
    assert (folder / name).read_bytes() == whole
    prepare(source, tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damage", ["cut", "longer", "gone", "no meta", "empty meta"])
def test_what_is_damaged_otherwise_is_mended_too(tmp_path: Path, damage: str) -> None:
    (tmp_path / "t").write_bytes(b"hello world " * 100)
    source = FileSource(tmp_path / "t", characters=False)
    prepare(source, tmp_path)
    (folder,) = (tmp_path / "prepared").iterdir()
    train, meta = folder / "train.bin", folder / "meta.json"
    if damage == "cut":
        train.write_bytes(train.read_bytes()[:-1])
    elif damage == "longer":
        train.write_bytes(train.read_bytes() + b"\0")
    elif damage == "empty meta":
        meta.write_text("")
    else:
        (train if damage == "gone" else meta).unlink()
    assert decoded(prepare(source, tmp_path)) == b"hello world " * 100
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == [folder.name]


def test_a_text_of_an_older_version_gets_its_digests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t").write_bytes(b"hello world " * 100)
    source = FileSource(tmp_path / "t", characters=False)
    prepare(source, tmp_path)
    (folder,) = (tmp_path / "prepared").iterdir()
    meta = json.loads((folder / "meta.json").read_text())
    del meta["digests"], meta["sha256"], meta["facts"]
    (folder / "meta.json").write_text(json.dumps(meta))
    prepare(source, tmp_path)
    assert "digests" in json.loads((folder / "meta.json").read_text())
    assert capsys.readouterr().err == ""


def test_what_a_killed_preparation_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"hello world " * 100)
    root = tmp_path / "prepared"
    with _partial(root) as alive:
        left = root / ".partial-killed"
        (left / "corpus").mkdir(parents=True)
        (left / "corpus" / "train.bin").write_bytes(b"half of it")
        (left / "lock").touch()
        prepare(FileSource(tmp_path / "t", characters=False), tmp_path)
        assert not left.exists()
        assert alive.is_dir(), "its process lives"
    assert [path.name[:2] for path in root.iterdir()] == ["t-"]


def test_a_text_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    class Changing:
        def __init__(self) -> None:
            self.texts = [b"abc" * 100, b"xyz" * 200]

        def __iter__(self) -> Iterator[bytes]:
            yield self.texts.pop(0)

    with pytest.raises(UserError, match="data=own: has changed while it was read"):
        prepare(OwnSource(Changing()), tmp_path)
    assert not list((tmp_path / "prepared").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("symbols", ["bytes", "characters", "words"])
def test_memory_does_not_grow_with_the_text(tmp_path: Path, symbols: str) -> None:
    line = "Всё смешалось в доме the cat sat on the mat\n".encode()
    peaks = []
    for size in (1, 4):  # MB
        path = tmp_path / f"{size}"
        path.write_bytes(line * (size * 1_000_000 // len(line)))
        tracemalloc.start()
        prepare(FileSource(path, symbols == "characters", symbols == "words"), tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]


@pytest.mark.parametrize("size", [1, 19, 200])
def test_a_text_shorter_than_its_blocks_is_refused_with_its_sizes(
    tmp_path: Path, size: int
) -> None:
    (tmp_path / "t").write_bytes(b"x" * size)
    corpus = prepare(FileSource(tmp_path / "t", characters=False), tmp_path)
    with pytest.raises(UserError, match=rf"train {len(corpus.train)}, valid {size // 20}, test"):
        corpus.require_blocks("data=text", batch_size=2, block_size=16)


@dataclass
class OwnSource:
    """A text of a user's own kind."""

    content: Any = b"one and one is two\n" * 100
    name: Any = "own"
    characters: Any = False
    own_key: Any = "1"

    def key(self) -> Any:
        return self.own_key

    def read(self) -> Any:
        return self.content


def test_two_kinds_whose_names_and_keys_agree_have_texts_of_their_own(tmp_path: Path) -> None:
    first = prepare(OwnSource(), tmp_path, "mine.own")
    other = prepare(OwnSource(b"another text\n" * 100), tmp_path, "theirs.own")
    assert first.fingerprint != other.fingerprint
    assert prepare(OwnSource(b""), tmp_path, "mine.own").fingerprint == first.fingerprint


@pytest.mark.parametrize("characters", [False, True])
def test_a_source_may_say_how_its_text_is_split(tmp_path: Path, characters: bool) -> None:
    splits = {"test": "naïve", "train": "one é two", "valid": "three"}
    content = {split: text.encode() for split, text in splits.items()}
    corpus = prepare(OwnSource(content, characters=characters), tmp_path, "mine.own")
    for split, text in splits.items():
        tokens = getattr(corpus, split).tolist()
        assert corpus.vocabulary.decode(tokens) == text
    assert corpus.vocabulary.unit == ("characters" if characters else "bytes")


def test_the_same_text_split_elsewhere_is_another_text(tmp_path: Path) -> None:
    one = {"train": b"abc", "valid": b"d", "test": b"e"}
    other = {"train": b"ab", "valid": b"cd", "test": b"e"}
    first = prepare(OwnSource(one, own_key="one"), tmp_path)
    second = prepare(OwnSource(other, own_key="other"), tmp_path)
    assert first.fingerprint != second.fingerprint


def test_the_folder_of_a_built_in_kinds_text_stays_the_same(tmp_path: Path) -> None:
    prepare(OwnSource(), tmp_path)
    key = hashlib.sha256(b"1 bytes 1").hexdigest()[:12]
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == [f"own-{key}"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (OwnSource(content="a text"), "data: OwnSource.read: must be bytes, is a str"),
        (OwnSource(content=None), "data: OwnSource.read: must be bytes, is None"),
        (
            OwnSource(content=iter([b"a"])),
            "data: OwnSource.read: must be bytes, is a list_iterator",
        ),
        (OwnSource(content=b""), "data=own: OwnSource.read: the text is empty"),
        (
            OwnSource(content={"train": b"", "valid": b"", "test": b""}),
            "data=own: OwnSource.read: the text is empty",
        ),
        (
            OwnSource(content={"train": b"one", "test": b"two"}),
            "data: OwnSource.read: must give train, valid, test, gave train, test",
        ),
        (
            OwnSource(content={"train": b"one", "valid": "two", "test": b""}),
            "data: OwnSource.read: valid: must be bytes, is a str",
        ),
        (
            OwnSource(content={"train": b"", "valid": b"a\xff", "test": b""}, characters=True),
            "data=own: is no UTF-8 text at byte 1 of valid; use data.symbols=bytes, or "
            "characters=False in a source of your own",
        ),
        (OwnSource(own_key=17), "data: OwnSource.key: must be str, is an int"),
        (OwnSource(name=None), "data: OwnSource.name: must be str, is None"),
        (OwnSource(name="a/b"), "data: OwnSource.name='a/b': must be a name without /"),
        (OwnSource(characters="no"), "data: OwnSource.characters: must be bool, is a str"),
    ],
)
def test_what_is_no_text_is_refused_by_method(
    source: OwnSource, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as refused:
        prepare(source, tmp_path)
    assert str(refused.value) == message


def test_what_is_no_source_is_refused(tmp_path: Path, kinds_as_before: None) -> None:
    @register("data", "own")
    @dataclass
    class OwnDataConfig(DataConfig):
        def build(self, data_dir: Path) -> Any:
            return b"a text"

    with pytest.raises(UserError) as refused:
        corpus_of(OwnDataConfig(), tmp_path)
    assert str(refused.value) == (
        "data=own: OwnDataConfig.build: must return a source with name, characters, key() and "
        "read(), returned a bytes without name"
    )
