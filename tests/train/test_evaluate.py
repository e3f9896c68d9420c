"""Every token counts once, and the score does not depend on how the text is cut up."""

import math
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
import torch

from adaspan.config.kinds.span import AdaptiveSpanConfig, FixedSpanConfig, SpanConfig
from adaspan.config.schema import ModelConfig
from adaspan.nn.transformer import Transformer
from adaspan.runs.slices import Slices
from adaspan.train.build import make_model
from adaspan.train.evaluate import Piece, Score, blocks, evaluate, sample, whole_text

CPU = torch.device("cpu")
TOKENS = np.random.default_rng(0).integers(7, size=701).astype(np.uint8)


def small_model(span: SpanConfig) -> Transformer:
    torch.manual_seed(0)
    shape = ModelConfig(layers=2, dim=8, heads=2, ffn_dim=16, dropout=0.5)
    return make_model(shape, span, vocabulary_size=7).double()


def one_long_reading(model: Transformer) -> float:
    """Nats of the whole text, read as a single block."""
    tokens = torch.from_numpy(TOKENS.astype(np.int64))[None]
    log_probs = model.eval()(tokens[:, :-1], model.empty_caches(1)).log_probs_BMV
    return math.log(7) - log_probs.gather(-1, tokens[:, 1:, None]).sum().item()


@pytest.mark.slow
@pytest.mark.parametrize(
    "span",
    [
        FixedSpanConfig(limit=9),
        AdaptiveSpanConfig(limit=20, ramp=4, loss_coefficient=0, initial_fraction=0.2),
    ],
    ids=lambda span: span.kind,
)
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
@pytest.mark.parametrize("block_size", [1, 16, 1000])
def test_score_does_not_depend_on_batch_or_block(
    span: SpanConfig, batch_size: int, block_size: int
) -> None:
    model = small_model(span)
    pieces = whole_text(len(TOKENS), model.receptive_field(), batch_size)
    assert len(pieces) == batch_size
    read: list[None] = []
    score = evaluate(
        model,
        TOKENS,
        pieces,
        batch_size=batch_size,
        block_size=block_size,
        device=CPU,
        after_block=lambda: read.append(None),
    )
    assert len(read) == blocks(pieces, batch_size, block_size)
    assert score.tokens == len(TOKENS)
    assert score.nats == pytest.approx(one_long_reading(model), rel=1e-12)


@pytest.mark.parametrize(
    ("length", "receptive_field", "batch_size"), [(1000, 7, 4), (50, 40, 8), (1, 3, 2)]
)
def test_pieces_of_the_whole_text_count_every_token_once(
    length: int, receptive_field: int, batch_size: int
) -> None:
    pieces = whole_text(length, receptive_field, batch_size)
    counted = [t for piece in pieces for t in range(piece.first, piece.end)]
    assert counted == list(range(length))
    assert all(piece.start == max(0, piece.first - receptive_field - 1) for piece in pieces)


def test_a_sample_is_spread_over_the_text_and_always_the_same() -> None:
    pieces = sample(8000, fraction=0.1, context=50)
    assert pieces == sample(8000, fraction=0.1, context=50)
    assert sum(piece.end - piece.first for piece in pieces) == 800
    assert [piece.first for piece in pieces] == [1000 * i for i in range(8)]


def test_a_sample_of_everything_is_the_whole_text() -> None:
    model = small_model(FixedSpanConfig(limit=9))
    pieces = sample(len(TOKENS), fraction=1.0, context=18)
    score = evaluate(model, TOKENS, pieces, batch_size=3, block_size=16, device=CPU)
    assert score.tokens == pytest.approx(len(TOKENS), abs=8)


def test_model_is_left_in_the_mode_it_was_in() -> None:
    model = small_model(FixedSpanConfig(limit=9)).train()
    evaluate(model, TOKENS, [Piece(0, 0, 50)], batch_size=1, block_size=16, device=CPU)
    assert model.training


def test_first_token_costs_a_draw_from_the_vocabulary() -> None:
    model = small_model(FixedSpanConfig(limit=9))
    score = evaluate(model, TOKENS, [Piece(0, 0, 1)], batch_size=1, block_size=16, device=CPU)
    assert score.nats == pytest.approx(math.log(7))
    assert score.tokens == 1


def test_the_cost_of_some_tokens_is_told_apart() -> None:
    model = small_model(FixedSpanConfig(limit=9))
    apart = np.arange(len(TOKENS)) % 5 == 0

    def cost(pieces: list[Piece], which: npt.NDArray[np.bool_]) -> Score:
        return evaluate(model, TOKENS, pieces, batch_size=3, block_size=16, device=CPU, apart=which)

    pieces = whole_text(len(TOKENS), model.receptive_field(), batch_size=3)
    some, others = cost(pieces, apart), cost(pieces, ~apart)
    assert some.nats == others.nats
    assert some.nats_apart + others.nats_apart == pytest.approx(some.nats, rel=1e-9)
    one_by_one = [
        cost([Piece(0, t, t + 1)], apart).nats for t in np.flatnonzero(apart)[:4].tolist()
    ]
    assert cost([Piece(0, 0, 16)], apart).nats_apart == pytest.approx(sum(one_by_one), rel=1e-6)


def test_the_mean_cost_of_a_token() -> None:
    assert Score(nats=30.0, tokens=10).nats_per_token == 3.0


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("count", [1, 7, 50])
def test_slices_are_the_costs_of_equal_parts_however_the_text_is_cut_up(
    batch_size: int, count: int
) -> None:
    model = small_model(FixedSpanConfig(limit=9))
    pieces = whole_text(len(TOKENS), model.receptive_field(), batch_size)
    slices_S = torch.zeros(count, dtype=torch.float64)
    read = partial(
        evaluate, model, TOKENS, pieces, batch_size=batch_size, block_size=16, device=CPU
    )
    assert read(slices_S=slices_S) == read(), "to the bit"
    tokens = torch.from_numpy(TOKENS.astype(np.int64))[None]
    log_probs = model.eval()(tokens[:, :-1], model.empty_caches(1)).log_probs_BMV
    nats = [math.log(7), *(-log_probs.gather(-1, tokens[:, 1:, None])).flatten().tolist()]
    slices = Slices(len(TOKENS), slices_S.numpy())
    ends = np.cumsum(slices.tokens).astype(int)
    assert ends[-1] == len(TOKENS)
    assert np.ptp(slices.tokens) <= 1
    expected = [sum(part) for part in np.split(np.array(nats), ends[:-1])]
    assert slices.nats == pytest.approx(np.array(expected), rel=1e-10)
