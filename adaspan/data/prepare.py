"""Prepare a text once: three arrays of token ids and a small JSON, in a folder of their own.

    <data_dir>/prepared/<name>-<key>/train.bin valid.bin test.bin meta.json

The folder appears by one rename, complete. Several jobs may prepare the same text at once on a
shared disk: the first rename wins, the others take what it made. A changed source has another key.
One that is damaged is made again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from adaspan.data.facts import Facts, read_facts
from adaspan.data.prepared import SPLITS, DamageError, Tokens, open_prepared, seal
from adaspan.data.sources import Source
from adaspan.data.tokenize import given, tokenize
from adaspan.data.vocabulary import Unit, Vocabulary
from adaspan.errors import UserError
from adaspan.files import full_disk_named, sync_folder

_FORMAT = 1  # raise when the files below change their meaning
_PARTIAL = ".partial-"
_LOCK = "lock"  # of what is being prepared: held while its process lives


@dataclass(frozen=True)
class Corpus:
    """A prepared text. Arrays are memory-mapped: what is not read costs no memory."""

    name: str
    fingerprint: str  # SHA-256 of the whole text
    vocabulary: Vocabulary
    train: Tokens
    valid: Tokens
    test: Tokens
    facts: Facts
    unknown: Mapping[str, int] = field(default_factory=dict)  # words of a split that train has not

    def described(self) -> dict[str, Any]:
        """What the text turned out to be, for the record of a run."""
        unit, symbols = self.vocabulary.unit, len(self.vocabulary)
        return {**dataclasses.asdict(self.facts), "unit": unit, "symbols": symbols}

    def require_blocks(self, typed: str, batch_size: int, block_size: int) -> None:
        """Refuse a text that is too short to read in blocks.

        Args:
            typed: what a person typed to choose it.
            batch_size: B.
            block_size: M.

        Raises:
            UserError: names every split's size and what is needed.
        """
        needed = {"train": batch_size * (block_size + 1), "valid": block_size, "test": block_size}
        sizes = {split: len(getattr(self, split)) for split in SPLITS}
        if any(sizes[split] < needed[split] for split in SPLITS):
            have = ", ".join(f"{split} {sizes[split]}" for split in SPLITS)
            need = ", ".join(f"{split} {needed[split]}" for split in SPLITS)
            raise UserError(
                f"{typed}: the text is too short: tokens are {have}; "
                f"train.batch_size={batch_size} and train.block_size={block_size} need {need}"
            )


def prepare(source: Source, data_dir: Path, reader: str | None = None) -> Corpus:
    """The tokens of a source, prepared now unless they are already.

    A text that does not come in splits is cut 90/5/5, in that order. Every byte or character of
    every split has an id; every word of train, which stand for the others as `<unk>`.

    Args:
        source: of the text.
        data_dir: below it they are kept.
        reader: the kind and the code of a user's own source: another one with the same key may
            read something else.

    Raises:
        UserError: the text cannot be downloaded or read.
    """
    root = data_dir / "prepared"
    unit = _unit_of(source)
    parts = [str(_FORMAT), unit, given(source, "key", source.key(), str), *filter(None, [reader])]
    key = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]
    path = root / f"{_named(source)}-{key}"
    corpus = _load_undamaged(path)
    if corpus is None:
        with _partial(root) as made, _bar(source.name) as progress:
            with full_disk_named(path):
                _write(source, unit, made, progress)
            _appear(made, path)
        corpus = _load(path)
    if corpus is None:
        raise UserError(f"{path}: vanished while it was prepared; type the same command again")
    return corpus


def _write(source: Source, unit: Unit, path: Path, progress: Callable[[float], None]) -> None:
    tokenized = tokenize(source, unit, path, progress)
    meta = dataclasses.asdict(tokenized)
    seal(path, {"name": source.name, "unit": unit, "characters": unit == "characters", **meta})


@contextmanager
def _partial(root: Path) -> Iterator[Path]:
    """A folder to prepare a text in, once those of processes that were killed are removed."""
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_suffix(".lock")):  # nobody takes for left over what is not locked yet
        for left in root.glob(f"{_PARTIAL}*"):
            with suppress(Timeout), FileLock(left / _LOCK, timeout=0):
                shutil.rmtree(left)
        parent = Path(tempfile.mkdtemp(dir=root, prefix=_PARTIAL))
        lock = FileLock(parent / _LOCK)
        lock.acquire()
    try:
        made = parent / "corpus"
        made.mkdir()
        yield made
    finally:
        shutil.rmtree(parent, ignore_errors=True)
        lock.release()


def _appear(made: Path, path: Path) -> None:
    """Give a prepared text its name, unless another job was first."""
    if path.exists() and _load_undamaged(path, silent=True) is None:
        with suppress(FileNotFoundError):  # another job mends it, too
            path.rename(made.with_name("damaged"))
    try:
        made.rename(path)
        sync_folder(path.parent)
    except OSError:
        if not path.exists():
            raise


@contextmanager
def _bar(name: str) -> Iterator[Callable[[float], None]]:
    """A live bar on a terminal; what it gives is called with the share that is done."""
    from rich.console import Console  # who imports the library sees no bar
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn(f"preparing {name}", markup=False),
        BarColumn(bar_width=24),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _named(source: Source) -> str:
    name = given(source, "name", source.name, str)
    if not name or "/" in name:
        raise UserError(f"data: {type(source).__name__}.name={name!r}: must be a name without /")
    return name


def _unit_of(source: Source) -> Unit:
    if getattr(source, "words", False):
        return "words"
    return _unit(given(source, "characters", source.characters, bool))


def _load_undamaged(path: Path, *, silent: bool = False) -> Corpus | None:
    """None if it must be made, perhaps again, which is told."""
    try:
        return _load(path)
    except DamageError as error:
        if not silent:
            print(
                f"adaspan: warning: {path}: damaged ({error}); it is prepared again",
                file=sys.stderr,
            )
        return None


def _load(path: Path) -> Corpus | None:
    """None if there is none, or one of an older version. Raises `DamageError`."""
    prepared = open_prepared(path)
    if prepared is None:
        return None
    meta, arrays = prepared
    return Corpus(
        name=meta["name"],
        fingerprint=meta["fingerprint"],
        vocabulary=_vocabulary(meta),
        facts=read_facts(meta["facts"]),
        unknown=meta["unknown"],
        **arrays,
    )


def find_vocabulary(data_dir: Path, fingerprint: str, characters: bool) -> Vocabulary | None:
    """The vocabulary of a prepared text; None if it is not there.

    Args:
        data_dir: where texts were prepared.
        fingerprint: SHA-256 of the text.
        characters: whether tokens are characters.
    """
    for path in (data_dir / "prepared").glob("*/meta.json"):
        meta = json.loads(path.read_text())
        if (meta["fingerprint"], meta["characters"]) == (fingerprint, characters):
            return _vocabulary(meta)
    return None


def _vocabulary(meta: dict[str, Any]) -> Vocabulary:
    return Vocabulary(tuple(meta["symbols"]), meta.get("unit") or _unit(meta["characters"]))


def _unit(characters: bool) -> Unit:
    return "characters" if characters else "bytes"
