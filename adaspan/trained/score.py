"""How well a trained model predicts any text, each token once."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adaspan.config.extensions import import_extensions
from adaspan.config.kinds.contract import mistakes_of
from adaspan.config.kinds.data import corpus_of
from adaspan.config.kinds.registry import KINDS
from adaspan.config.schema import RunConfig
from adaspan.data import Corpus, Tokens
from adaspan.data.foreign import read_foreign, translate
from adaspan.data.textfile import Reading, TextFile
from adaspan.data.vocabulary import Vocabulary
from adaspan.errors import UserError
from adaspan.nn.transformer import Transformer
from adaspan.runs import measures
from adaspan.runs.extensions import recorded_places
from adaspan.runs.folder import RunFolder
from adaspan.train.device import autocast
from adaspan.train.evaluate import blocks, evaluate, whole_text

_ANY_TEXT = "--data FILE takes any text"


@dataclass(frozen=True)
class Text:
    """A text to predict.

    Args:
        name: as a person calls it.
        split: valid or test of the run's own data; None for another text.
        sha256: of the whole data.
        tokens: ids of the symbols that the model knows.
        unknown: how many it does not know. It does not read them, but for words, as <unk>.
        nats_each: what each of these costs that are not read; 0 for words.
    """

    name: str
    split: str | None
    sha256: str
    tokens: Tokens
    unknown: int = 0
    nats_each: float = 0.0

    @property
    def title(self) -> str:
        return self.split or self.name


def own_texts(
    run: Path,
    config: RunConfig,
    vocabulary: Vocabulary,
    data_sha256: str | None,
    splits: Sequence[str],
) -> list[Text]:
    """Splits of the text that a run has learned from.

    Args:
        run: its folder.
        config: of the run.
        vocabulary: of its model, which may number the symbols in another order than the text does.
        data_sha256: of its data; None if that is not known.
        splits: `valid`, `test`.

    Raises:
        UserError: the data cannot be had, or are others than when the run was begun.
    """
    corpus = _own_corpus(run, config)
    if data_sha256 not in (None, corpus.fingerprint):
        raise UserError(
            f"data={config.data.name}: is not the text that the run was begun on (sha256 "
            f"{data_sha256}, now {corpus.fingerprint}); {_ANY_TEXT}"
        )
    texts = []
    for split in splits:
        tokens, unknown, nats_each = getattr(corpus, split), 0, 0.0
        if corpus.vocabulary != vocabulary:
            text = translate(tokens, corpus.vocabulary, vocabulary)
            tokens, unknown, nats_each = text.tokens, text.unknown, text.nats_each
        texts.append(Text(corpus.name, split, corpus.fingerprint, tokens, unknown, nats_each))
    return texts


def _own_corpus(run: Path, config: RunConfig) -> Corpus:
    """What a run has read; perhaps long ago, so that its files may be gone, or what read them."""
    try:
        if config.data.kind not in KINDS["data"]:
            import_extensions(config.extensions, recorded_places(RunFolder(run).source.starts()))
        for mistake in mistakes_of(config.data):
            raise UserError(mistake)
        return corpus_of(config.data, Path(config.data_dir))
    except UserError as error:
        raise UserError(f"{error}; {_ANY_TEXT}") from None


def other_text(path: Path, vocabulary: Vocabulary, encoding: str | None) -> Text:
    """A file in the alphabet of a model. Raises `UserError` if it cannot be read.

    Args:
        path: of the file.
        vocabulary: of the model.
        encoding: of the file, as `data.encoding`.
    """
    name = f"--data {path}"
    reading = Reading(encoding, "--encoding ", as_bytes=vocabulary.unit == "bytes")
    content = b"".join(TextFile(path, name, reading))
    text = read_foreign(vocabulary, content, name)
    sha256 = hashlib.sha256(content).hexdigest()
    return Text(path.name, None, sha256, text.tokens, text.unknown, text.nats_each)


class TextScorer:
    """Predicts texts with keys and values that are computed once.

    Args:
        model: in evaluation mode.
        vocabulary: of the model.
        device: of the model.
        precision: of matrix products.
        batch_size: pieces that are read side by side; like `block_size` it changes nothing but
            speed and memory.
        block_size: tokens a piece and step.
    """

    def __init__(
        self,
        model: Transformer,
        vocabulary: Vocabulary,
        device: torch.device,
        precision: torch.dtype,
        batch_size: int,
        block_size: int,
    ) -> None:
        self._model = model
        self._device = device
        self._precision = precision
        self._reading = {"batch_size": batch_size, "block_size": block_size}
        self._measure = measures.OF_UNIT[vocabulary.unit]

    def blocks(self, text: Text) -> int:
        """How many blocks `score` reads."""
        return blocks(self._pieces(text), **self._reading)

    def score(self, text: Text, after_block: Callable[[], None]) -> dict[str, Any]:
        """What is known of the text, and the score in the measure of its tokens."""
        with autocast(self._device, self._precision):
            score = evaluate(
                self._model,
                text.tokens,
                self._pieces(text),
                device=self._device,
                after_block=after_block,
                keep_keys=True,
                **self._reading,
            )
        count = score.tokens + (text.unknown if text.nats_each else 0)
        nats = score.nats + text.unknown * text.nats_each
        return {
            "data": text.name,
            "split": text.split,
            "data_sha256": text.sha256,
            "tokens": count,
            "unknown": text.unknown,
            "unknown_bits": text.unknown * text.nats_each / math.log(2),
            self._measure.name: self._measure.of_nats(nats / count),
            "nats": nats,
        }

    def line(self, text: Text, row: dict[str, Any], unit: str) -> str:
        """A row of `score` as a person reads it."""
        measure = self._measure
        told = (
            f"{text.title:<7} {measure.written(row[measure.name])} {measure.name} · "
            f"{row['tokens']:,} {unit}"
        )
        if not text.unknown:
            return told
        if not text.nats_each:
            return f"{told}, {text.unknown:,} of them unknown to the model and read as <unk>"
        known = measure.of_nats((row["nats"] - text.unknown * text.nats_each) / len(text.tokens))
        return (
            f"{told}, {text.unknown:,} of them unknown to the model: "
            f"{text.nats_each / math.log(2):.1f} bits each; without them {measure.written(known)}"
        )

    def _pieces(self, text: Text) -> Any:
        return whole_text(
            len(text.tokens), self._model.receptive_field(), self._reading["batch_size"]
        )
