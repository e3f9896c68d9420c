"""What symbols cost that a model does not know, in the results of `adaspan evaluate`."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from adaspan.config.kinds.span import FixedSpanConfig
from adaspan.config.schema import ModelConfig
from adaspan.data.foreign import ForeignText, own_text, read_foreign
from adaspan.data.vocabulary import Unit, Vocabulary
from adaspan.train.build import make_model
from adaspan.trained.text_score import Text, TextScorer

WORDS = ("the", "<eos>", "cat", "<unk>", "sat")


def scored(
    content: ForeignText, symbols: tuple[Any, ...], unit: Unit = "words"
) -> tuple[dict[str, Any], str]:
    """A row, and the line that a person reads."""
    torch.manual_seed(0)
    shape = ModelConfig(layers=1, dim=8, heads=2, ffn_dim=16)
    model = make_model(shape, FixedSpanConfig(limit=9), len(symbols)).eval()
    cpu = torch.device("cpu")
    scorer = TextScorer(model, Vocabulary(symbols, unit), cpu, torch.float32, 2, 16)
    text = Text("a text", None, "0" * 64, content)
    row = scorer.score(text, lambda: None)
    return row, scorer.line(text, row, unit)


def test_unknown_words_cost_what_their_unk_costs() -> None:
    content = b"the cat sat\nthe dog sat\ndogs sat\n" * 9
    row, line = scored(read_foreign(Vocabulary(WORDS, "words"), content, "a text"), WORDS)
    assert (row["tokens"], row["unknown"]) == (99, 18)
    unknown_nats = row["unknown_bits"] * math.log(2)
    assert 0 < unknown_nats < row["nats"]
    assert row["ppl"] == pytest.approx(math.exp(row["nats"] / 99))
    assert row["known_ppl"] == pytest.approx(math.exp((row["nats"] - unknown_nats) / 81))
    told = "99 words, 18 of them unknown to the model and read as <unk>: "
    assert f"{told}{row['unknown_bits'] / 18:.1f} bits each; without them " in line
    assert line.endswith(f"{row['known_ppl']:.2f}")


def test_which_words_are_unknown_may_not_be_known() -> None:
    tokens = read_foreign(Vocabulary(WORDS, "words"), b"the <unk> sat\nthe dog sat\n", "").tokens
    vocabulary = Vocabulary(WORDS, "words")
    row, line = scored(own_text(tokens, vocabulary, vocabulary, 1), WORDS)
    assert (row["unknown"], row["unknown_bits"], row["known_ppl"]) == (1, None, None)
    assert line.endswith("8 words, 1 of them unknown to the model and read as <unk>")


def test_without_unknown_words_there_is_one_figure() -> None:
    row, line = scored(read_foreign(Vocabulary(WORDS, "words"), b"the cat <unk>", ""), WORDS)
    assert (row["unknown"], row["unknown_bits"]) == (0, 0.0)
    assert row["known_ppl"] == row["ppl"]
    assert line.endswith(" ppl · 4 words")


def test_what_is_left_out_costs_a_draw_and_not_the_known_score() -> None:
    symbols = tuple(b"cab")
    known, without = (
        scored(read_foreign(Vocabulary(symbols, "bytes"), content, ""), symbols, "bytes")[0]
        for content in (b"abcbca", b"abXcbYca")
    )
    assert (without["unknown"], without["unknown_bits"]) == (2, pytest.approx(16))
    assert without["known_bpb"] == pytest.approx(known["bpb"])
    assert without["bpb"] == pytest.approx((6 * known["bpb"] + 16) / 8)
