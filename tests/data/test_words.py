"""Words: numbered by their count in train, with an end for each line and one for all unknown."""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from adaspan.config.kinds.data import TextDataConfig, WikiText103DataConfig, corpus_of
from adaspan.data import Corpus, Vocabulary
from adaspan.data.archives import WIKITEXT103, Archive, ArchiveSource
from adaspan.data.foreign import own_text, read_foreign, translate
from adaspan.data.prepare import prepare
from adaspan.data.text import decoded, first_token
from adaspan.data.words import text_of, words_of
from adaspan.errors import UserError

TRAIN = " = Title = \n the cat sat on the mat\n\nthe dog sat\u3000down\n"
VALID = "the cat sat on a <unk>\n"
TEST = "a mat and the dog"
WORDS = Vocabulary(("the", "<eos>", "cat", "<unk>", "sat"), "words")


def split_folder(tmp_path: Path, names: str = "wiki.{}.tokens") -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for split, content in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        (folder / names.format(split)).write_text(content)
    return folder


def texts_of(corpus: Corpus) -> list[str]:
    return [corpus.vocabulary.decode(part) for part in (corpus.train, corpus.valid, corpus.test)]


def test_a_text_is_its_words_and_line_ends() -> None:
    assert words_of("the  cat\n\nsat ") == ["the", "cat", "<eos>", "<eos>", "sat"]
    assert text_of(words_of("the cat\n\nsat on\n")) == "the cat\n\nsat on\n"


def test_ids_follow_the_counts_in_train_as_the_public_codes_do(tmp_path: Path) -> None:
    folder = split_folder(tmp_path)
    corpus = corpus_of(TextDataConfig(path=str(folder), symbols="words"), tmp_path / "data")
    words = [word for line in TRAIN.splitlines() for word in (*line.split(), "<eos>")]
    counts = Counter(words)
    # Sorted by count and turned around, so that of equal ones the later is first.
    expected = sorted(counts, key=lambda word: counts[word])[::-1]
    assert list(corpus.vocabulary.symbols) == [*expected, "<unk>"]
    assert corpus.vocabulary.unit == "words"
    assert [corpus.vocabulary.symbols[token] for token in corpus.train] == words
    assert corpus.train.dtype == np.uint8


def test_words_that_train_has_not_are_counted(tmp_path: Path) -> None:
    folder = split_folder(tmp_path)
    config = TextDataConfig(path=str(folder), symbols="words")
    for _ in range(2):  # made, and found
        corpus = corpus_of(config, tmp_path / "data")
        assert texts_of(corpus)[1:] == [
            "the cat sat on <unk> <unk>\n",
            "<unk> mat <unk> the dog\n",
        ]
        assert corpus.unknown == {"train": 0, "valid": 1, "test": 2}, "what says <unk> is known"


def test_one_file_is_cut_and_its_first_part_has_the_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("".join(f"word{i // 30} again\n" for i in range(100)))
    corpus = corpus_of(TextDataConfig(path=str(path), symbols="words"), tmp_path / "data")
    assert [len(part) for part in (corpus.train, corpus.valid, corpus.test)] == [270, 15, 15]
    assert set(corpus.vocabulary.symbols) == {
        *["word0", "word1", "word2", "again", "<eos>", "<unk>"]
    }
    assert corpus.unknown == {"train": 0, "valid": 5, "test": 5}


@pytest.mark.parametrize("symbols", ["bytes", "characters", "words"])
@pytest.mark.parametrize("given", ["folder", "files"])
def test_a_text_that_is_cut_already_keeps_its_splits(
    tmp_path: Path, symbols: str, given: str
) -> None:
    folder = split_folder(tmp_path, "{}.txt")
    files = {split: str(folder / f"{split}.txt") for split in ("train", "valid", "test")}
    config = (
        TextDataConfig(path=str(folder), symbols=symbols)
        if given == "folder"
        else TextDataConfig(symbols=symbols, **files)
    )
    assert list(config.mistakes()) == []
    assert config.name == "texts"
    train, valid, _ = texts_of(corpus_of(config, tmp_path / "data"))
    if symbols == "words":
        assert train == "= Title =\nthe cat sat on the mat\n\nthe dog sat down\n"
    else:
        assert (train, valid) == (TRAIN, VALID)


def test_splits_that_are_not_there_are_named(tmp_path: Path) -> None:
    folder = split_folder(tmp_path)
    (folder / "wiki.valid.tokens").rename(folder / "train.txt")
    several = TextDataConfig(path=str(folder))
    assert list(several.mistakes()) == [
        f"data.path={folder}: has 2 files for train: train.txt, wiki.train.tokens; name them: "
        "data.train, data.valid, data.test"
    ]
    (folder / "train.txt").unlink()
    missing = WikiText103DataConfig(archive=str(folder))
    assert list(missing.mistakes()) == [
        f"data.archive={folder}: has no file for valid, such as valid.txt; name them: data.train, "
        "data.valid, data.test"
    ]
    train, other = (str(folder / f"wiki.{split}.tokens") for split in ("train", "test"))
    assert list(TextDataConfig(path="x", train=train, valid=other).mistakes()) == [
        "data.path=x: leave it out where each split has a file of its own",
        "data.test: needs a value, as the other splits have one",
    ]


@pytest.mark.parametrize("symbols", ["bytes", "characters", "words"])
def test_of_what_the_public_codes_scripts_leave_the_text_is_read_and_named(
    symbols: str, tmp_path: Path
) -> None:
    """Each split twice: its bytes as numbers, or its characters as words, and raw."""
    folder = split_folder(tmp_path, "{}.txt.raw")
    for split in ("train", "valid", "test"):
        content = (folder / f"{split}.txt.raw").read_bytes()
        (folder / f"{split}.txt").write_text(" ".join(map(str, content)))
    config = TextDataConfig(path=str(folder), symbols=symbols)
    assert list(config.mistakes()) == []
    ending = "txt" if symbols == "words" else "txt.raw"
    assert config.split_names() == [f"{split}.{ending}" for split in ("train", "valid", "test")]
    read = texts_of(corpus_of(config, tmp_path / "data"))[0]
    numbers = " ".join(map(str, TRAIN.encode()))
    assert read == (f"{numbers}\n" if symbols == "words" else TRAIN)


def archive_of(path: Path) -> Archive:
    """Small, but built as the published one is."""
    with zipfile.ZipFile(path, "w") as archive:
        for split, content in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
            archive.writestr(WIKITEXT103.splits[split], content)
    return Archive(
        name=WIKITEXT103.name,
        base_url=WIKITEXT103.base_url,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        content_sha256=None,
        words=True,
        file=WIKITEXT103.file,
        splits=WIKITEXT103.splits,
    )


def test_wikitext103_comes_from_its_archive_or_its_folder(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "wikitext-103-v1.zip")
    source = ArchiveSource(archive, tmp_path, tmp_path / "wikitext-103-v1.zip")
    packed = prepare(source, tmp_path / "data")
    config = WikiText103DataConfig(archive=str(split_folder(tmp_path)))
    assert list(config.mistakes()) == []
    unpacked = corpus_of(config, tmp_path / "data")
    assert texts_of(packed) == texts_of(unpacked)
    assert (packed.vocabulary, packed.fingerprint) == (unpacked.vocabulary, unpacked.fingerprint)
    assert packed.name == "wikitext103"
    downloaded = ArchiveSource(archive, tmp_path)
    assert downloaded.read() == source.read(), "found under its own name, checked"


def test_another_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    archive_of(path)
    with pytest.raises(UserError, match=f"sha256 is .*, must be {WIKITEXT103.sha256}"):
        ArchiveSource(WIKITEXT103, tmp_path, path).read()


def test_words_that_are_not_known_are_encoded_as_one() -> None:
    tokens = WORDS.encode("the  dog\ncat")
    assert tokens == [0, 3, 1, 2]
    assert WORDS.decode(tokens) == "the <unk>\ncat"
    with pytest.raises(ValueError, match="text: has 'dog': not in the vocabulary of 1 words"):
        Vocabulary(("the",), "words").encode("the dog")


def test_a_vocabulary_of_words_comes_back(tmp_path: Path) -> None:
    WORDS.write(tmp_path / "vocabulary.json")
    assert Vocabulary.read(tmp_path / "vocabulary.json") == WORDS
    with pytest.raises(ValueError, match="symbols: must be a word each, one is 'two words'"):
        Vocabulary(("two words",), "words")


def test_words_come_with_the_space_before_them() -> None:
    assert list(decoded(WORDS, [0, 2, 1, 4, 2], after=4)) == [" the", " cat", "\n", "sat", " cat"]
    assert first_token(WORDS) == 1, "a text begins after the end of a line"


def test_another_text_is_read_in_the_words_of_a_model() -> None:
    found = read_foreign(WORDS, b"the dog sat\nthe <unk>", "a text")
    assert found.tokens.tolist() == [0, 3, 4, 1, 0, 3, 1]
    assert (found.unknown, found.nats_each) == (1, None)
    assert found.is_unknown is not None
    assert np.flatnonzero(found.is_unknown).tolist() == [1], "what says <unk> is known"
    other = Vocabulary(("dog", "sat", "<unk>", "<eos>"), "words")
    moved = translate(np.array([1, 0, 0, 3]), other, WORDS)
    assert moved.tokens.tolist() == [4, 3, 3, 1]
    assert moved.unknown == 2
    with pytest.raises(UserError, match="a text: is no UTF-8 text at byte 4"):
        read_foreign(WORDS, b"the \xff", "a text")


def test_unknown_words_of_a_models_own_text_are_told_apart_where_it_says_no_unk_itself() -> None:
    tokens = np.array([0, 3, 4, 1, 3])
    for unknown, which in ((2, [1, 4]), (1, None), (0, None)):
        own = own_text(tokens, WORDS, WORDS, unknown)
        assert (own.tokens is tokens, own.unknown, own.left_out) == (True, unknown, 0)
        found = None if own.is_unknown is None else np.flatnonzero(own.is_unknown).tolist()
        assert found == which
    moved = own_text(tokens, WORDS, Vocabulary(("<unk>", "the", "sat"), "words"), 2)
    assert (moved.unknown, moved.left_out) == (3, 0), "<eos> is another that the model has not"
    assert moved.is_unknown is not None
    assert moved.is_unknown.tolist() == [False, True, False, True, True]
    without = own_text(tokens, WORDS, Vocabulary(("the", "sat"), "words"), 2)
    assert (without.tokens.tolist(), without.unknown, without.left_out) == ([0, 1], 3, 3)
