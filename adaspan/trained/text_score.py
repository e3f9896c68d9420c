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
from adaspan.data import Corpus
from adaspan.data.foreign import ForeignText, own_text, read_foreign
from adaspan.data.vocabulary import Vocabulary
from adaspan.errors import UserError
from adaspan.nn.transformer import Transformer
from adaspan.runs import measures
from adaspan.runs.extensions import recorded_places
from adaspan.runs.folder import RunFolder
from adaspan.train.device import autocast
from adaspan.train.evaluate import Score, blocks, evaluate, whole_text

_ANY_TEXT = "--data FILE takes any text"


@dataclass(frozen=True)
class Text:
    """A text to predict.

    Args:
        name: as a person calls it.
        split: valid or test of the run's own data; None for another text.
        sha256: of the whole data.
        content: in the alphabet of the model.
    """

    name: str
    split: str | None
    sha256: str
    content: ForeignText

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
        unknown = corpus.unknown.get(split, 0)
        content = own_text(getattr(corpus, split), corpus.vocabulary, vocabulary, unknown)
        texts.append(Text(corpus.name, split, corpus.fingerprint, content))
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


def other_text(path: Path, content: bytes, vocabulary: Vocabulary) -> Text:
    """A file in the alphabet of a model. Raises `UserError` if that has nothing of it.

    Args:
        path: of the file, or -.
        content: of it, UTF-8 or bytes.
        vocabulary: of the model.
    """
    name = "stdin" if str(path) == "-" else path.name
    sha256 = hashlib.sha256(content).hexdigest()
    return Text(name, None, sha256, read_foreign(vocabulary, content, f"--data {path}"))


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
        self._reading: dict[str, Any] = {"batch_size": batch_size, "block_size": block_size}
        self._measure = measures.OF_UNIT[vocabulary.unit]

    def blocks(self, text: Text) -> int:
        """How many blocks `score` reads."""
        return blocks(self._pieces(text), **self._reading)

    def score(self, text: Text, after_block: Callable[[], None]) -> dict[str, Any]:
        """What is known of the text, and the score in the measure of its tokens: with the symbols
        that the model does not know and of the others alone, None where that is not known.
        """
        content, measure = text.content, self._measure
        with autocast(self._device, self._precision):
            score = evaluate(
                self._model,
                content.tokens,
                self._pieces(text),
                device=self._device,
                after_block=after_block,
                keep_keys=True,
                apart=content.is_unknown,
                **self._reading,
            )
        count = score.tokens + content.left_out
        unknown_nats = _unknown_nats(content, score)
        nats = score.nats + content.left_out * (content.nats_each or 0.0)
        known = None
        if unknown_nats is not None and count > content.unknown:
            known = measure.of_nats((nats - unknown_nats) / (count - content.unknown))
        return {
            "data": text.name,
            "split": text.split,
            "data_sha256": text.sha256,
            "tokens": count,
            "unknown": content.unknown,
            "unknown_bits": None if unknown_nats is None else unknown_nats / math.log(2),
            measure.name: measure.of_nats(nats / count),
            f"known_{measure.name}": known,
            "nats": nats,
        }

    def line(self, text: Text, row: dict[str, Any], unit: str) -> str:
        """A row of `score` as a person reads it."""
        measure, content = self._measure, text.content
        line = (
            f"{text.title:<7} {measure.written(row[measure.name])} {measure.name} · "
            f"{row['tokens']:,} {unit if row['tokens'] > 1 else unit.removesuffix('s')}"
        )
        if not content.unknown:
            return line
        line += f", {content.unknown:,} of them unknown to the model"
        if content.nats_each is None:
            line += " and read as <unk>"
        if row["unknown_bits"] is not None:
            line += f": {row['unknown_bits'] / content.unknown:.1f} bits each"
        known = row[f"known_{measure.name}"]
        return line if known is None else f"{line}; without them {measure.written(known)}"

    def _pieces(self, text: Text) -> Any:
        return whole_text(
            len(text.content.tokens), self._model.receptive_field(), self._reading["batch_size"]
        )


def _unknown_nats(content: ForeignText, score: Score) -> float | None:
    """What the symbols cost that the model does not know; None if that is not known."""
    if content.nats_each is not None:
        return content.unknown * content.nats_each
    if content.unknown and content.is_unknown is None:
        return None
    return score.nats_apart
