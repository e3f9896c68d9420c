"""Counted FLOPs against the paper's figures and against what torch itself counts."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from adaspan.config.kinds.span import (
    AdaptiveSpanConfig,
    DynamicSpanConfig,
    FixedSpanConfig,
    SpanConfig,
)
from adaspan.config.schema import ModelConfig
from adaspan.nn.attention import ANYWHERE, IMPLEMENTATIONS
from adaspan.nn.attention.banded import attend_banded, banded_macs
from adaspan.nn.attention.groups import group_heads
from adaspan.nn.attention.tiles import Tiling
from adaspan.nn.flops import (
    Shape,
    attention_macs_per_token,
    decoding_flops,
    executed_flops,
    feed_forward_macs_per_token,
    paper_macs_per_token,
)
from adaspan.nn.span import AdaptiveSpan
from adaspan.train.build import make_model

PAPER_12 = Shape(layers=12, dim=512, heads=8, ffn_dim=2048, vocabulary_size=27)


@pytest.mark.parametrize(
    ("shape", "mean_span", "millions"),
    [
        (PAPER_12, 314, 41.6),  # Table 1: 42M
        (PAPER_12, 256, 40.9),
        (PAPER_12, 1024, 50.3),
        (PAPER_12, 8192, 138.4),
        (Shape(24, 1024, 8, 3072, 27), 3800, 438.4),  # Transformer-XL's row: 438M
        (Shape(24, 768, 8, 4096, 27), 245, 216.6),  # the stated inner width ...
        (Shape(24, 768, 8, 3072, 27), 245, 178.9),  # ... and the one that gives the printed 179M
    ],
)
def test_papers_convention_gives_the_papers_figures(
    shape: Shape, mean_span: float, millions: float
) -> None:
    assert paper_macs_per_token(shape, mean_span) / 1e6 == pytest.approx(millions, abs=0.06)


def test_attention_and_feed_forward_are_parts_of_the_papers_count() -> None:
    """The rest of its formula is projections."""
    shape = replace(PAPER_12, persistent=64)
    attention = attention_macs_per_token(shape, 314)
    feed_forward = feed_forward_macs_per_token(shape)
    assert (attention, feed_forward) == (12 * 2 * 512 * (314 + 64), 12 * 2 * 512 * 2048)
    assert paper_macs_per_token(shape, 314) == attention + feed_forward + 12 * 4 * 512**2


def test_persistent_keys_count_as_a_feed_forward_as_wide() -> None:
    """One key and value a head stand for one inner unit: as many weights, as many products."""
    memory = replace(PAPER_12, ffn_dim=0, persistent=2048)
    assert paper_macs_per_token(memory, 314) == paper_macs_per_token(PAPER_12, 314)


def test_position_products_are_a_figure_of_their_own() -> None:
    assert paper_macs_per_token(PAPER_12, 314, position=True) / 1e6 == pytest.approx(43.5, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ANYWHERE)
@pytest.mark.parametrize("block", [16, 70])
@pytest.mark.parametrize(
    "span",
    [
        AdaptiveSpanConfig(limit=400, ramp=5, loss_coefficient=0.1),
        FixedSpanConfig(limit=40),
        DynamicSpanConfig(limit=40, ramp=5, loss_coefficient=0.1),
    ],
    ids=lambda span: span.kind,
)
def test_executed_flops_are_what_torch_counts(
    span: SpanConfig, block: int, implementation: str
) -> None:
    compare_with_torch(span, block, implementation)


@pytest.mark.slow
def test_executed_flops_have_the_persistent_keys_and_no_feed_forward() -> None:
    adaptive = AdaptiveSpanConfig(limit=400, ramp=5, loss_coefficient=0.1)
    compare_with_torch(adaptive, 70, "banded", ffn_dim=0, persistent=9)


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True], ids=["log-probabilities", "costs"])
def test_executed_flops_follow_how_rare_the_words_are(known: bool) -> None:
    shape = ModelConfig(layers=1, dim=16, heads=2, ffn_dim=16, cutoffs=[5, 9, 14], divisor=2)
    model = make_model(shape, FixedSpanConfig(limit=8), 19)
    counted = Shape(layers=1, dim=16, heads=2, ffn_dim=16, vocabulary_size=19)
    found = []
    for words in (5, 19):  # only the most frequent, and all
        tokens, targets = torch.randint(words, (2, 2, 30))
        with FlopCounterMode(display=False) as counter:
            output = model(tokens, targets_BM=targets if known else None)
            forward = counter.get_total_flops()
            (output.nats_BM if known else output.log_probs_BMV).mean().backward()
        executed = executed_flops(
            counted,
            batch_size=2,
            block_size=30,
            cached=[0],
            groups=output.groups,
            attention=IMPLEMENTATIONS[model.attention],
            device=tokens.device,
            io_macs=model.io_macs(tokens, targets if known else None),
        )
        assert (forward, counter.get_total_flops() - forward) == executed
        found.append(forward)
    assert found[0] != found[1]


def compare_with_torch(
    span: SpanConfig, block: int, implementation: str, ffn_dim: int = 48, persistent: int = 0
) -> None:
    """Forward and backward, block after block, while the caches fill."""
    batch = 3
    shape = ModelConfig(layers=2, dim=32, heads=4, ffn_dim=ffn_dim, persistent=persistent)
    model = make_model(shape, span, vocabulary_size=19, attention=implementation)
    for learned in model.spans:
        if isinstance(learned, AdaptiveSpan):
            learned.fraction.data = torch.tensor([0.01, 0.02, 0.3, 0.9])
    counted = Shape(
        layers=2,
        dim=32,
        heads=4,
        ffn_dim=ffn_dim,
        vocabulary_size=19,
        persistent=persistent,
        span_macs=model.spans[0].macs_per_token(),
    )
    caches = model.empty_caches(batch)
    for _ in range(4):
        cached = [cache.shape[1] for cache in caches]
        with FlopCounterMode(display=False) as counter:
            output = model(torch.randint(19, (batch, block)), caches)
            forward = counter.get_total_flops()
            (-output.log_probs_BMV.mean() + output.penalty).backward()
        executed = executed_flops(
            counted,
            batch_size=batch,
            block_size=block,
            cached=cached,
            groups=output.groups,
            attention=IMPLEMENTATIONS[implementation],
            device=model.position_SK.device,
        )
        assert (forward, counter.get_total_flops() - forward) == executed
        caches = output.caches


@pytest.mark.slow
@pytest.mark.parametrize("saved_bytes", [0, 30_000])  # none, and those of one tile of some
def test_weights_that_are_computed_twice_count_twice(
    saved_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiling = Tiling(saved_bytes)
    banded = IMPLEMENTATIONS["banded"]._replace(
        attend=partial(attend_banded, tiling=tiling), macs=partial(banded_macs, tiling=tiling)
    )
    monkeypatch.setitem(IMPLEMENTATIONS, "tiled", banded)
    adaptive = AdaptiveSpanConfig(limit=400, ramp=5, loss_coefficient=0.1)
    compare_with_torch(adaptive, 70, "tiled")


@pytest.mark.slow
@pytest.mark.parametrize("bias", [-4.0, -3.0])
def test_dynamic_spans_cost_at_most_half_more_than_adaptive_ones_of_the_same_mean(
    bias: float,
) -> None:
    """At the default run's shape, gates as they begin: the longest is about six times the mean."""
    shape = ModelConfig(layers=4, dim=128, heads=4, ffn_dim=512)
    limit, batch, block = 1024, 12, 64
    dynamic = make_model(shape, DynamicSpanConfig(limit, 32, 0.0, initial_bias=bias), 170)
    adaptive = make_model(shape, AdaptiveSpanConfig(limit, 32, 0.0), 170)
    tokens, caches = torch.randint(170, (batch, block)), [torch.randn(batch, limit, 128)] * 4
    costs = []
    for model in (dynamic, adaptive):
        with FlopCounterMode(display=False) as counter:
            output = model(tokens, caches)
            output.log_probs_BMV.mean().backward()
        costs.append(counter.get_total_flops())
        for learned, mean_H in zip(adaptive.spans, output.mean_spans, strict=True):
            assert isinstance(learned, AdaptiveSpan)
            learned.fraction.data = mean_H / limit
    assert costs[0] <= 1.5 * costs[1]


CPU = torch.device("cpu")
LAYER = Shape(layers=1, dim=512, heads=8, ffn_dim=0, vocabulary_size=0)
LEARNED = [30.0, 40, 50, 60, 80, 150, 500, 2000]


def executed(spans: list[float], limit: int = 8192, implementation: str = "banded") -> int:
    """FLOPs of one attention layer, forward and backward: batch 2, blocks of 512, ramp 32."""
    attention = IMPLEMENTATIONS[implementation]
    cost_of = attention.group_cost
    groups = group_heads(spans, limit, 32, cost_of(2, 512, CPU) if cost_of else None)
    return sum(
        executed_flops(
            LAYER,
            batch_size=2,
            block_size=512,
            cached=[limit],
            groups=[groups],
            attention=attention,
            device=CPU,
        )
    )


def ideal(spans: list[float]) -> int:
    """FLOPs if each head's every product were exactly as large as its own window."""
    tokens, head_dim = 2 * 512, 64
    macs = 3 * 4 * tokens * 512**2  # projections of the block
    for span in spans:
        window = int(span) + 32 + 1
        macs += 2 * 2 * 2 * window * 512 * head_dim  # keys and values of the cache
        macs += 9 * tokens * window * head_dim  # scores, positions, values; twice for gradients
    return 2 * macs


def test_cost_is_what_the_learned_spans_need() -> None:
    assert executed(LEARNED) <= 1.06 * ideal(LEARNED)
    assert executed(LEARNED, implementation="reference") >= 2.5 * ideal(LEARNED)


def test_cost_is_flat_in_the_limit_at_given_spans() -> None:
    short = [30.0, 40, 50, 60, 80, 100, 150, 300]
    assert executed(short, 512) == executed(short, 16384)


def test_a_head_that_grows_is_paid_for_alone() -> None:
    before, after = [50.0] * 8, [50.0] * 7 + [4000.0]
    growth = executed(after) - executed(before)
    assert growth <= 1.05 * (ideal(after) - ideal(before))


def test_a_token_costs_what_the_paper_counts_and_not_the_whole_cache_again() -> None:
    """Twelve layers of the paper, whose heads reach 343 tokens on average: 88 MFLOPs a token where
    keys and values are kept, fifty times as many where they are computed again.
    """
    spans = [60.0, 60, 60, 60, 60, 60, 60, 2092 - 32 - 1]
    groups = [group_heads(spans, 8192, 32, 1000)] * PAPER_12.layers
    reading: dict[str, Any] = {
        "attention": IMPLEMENTATIONS["banded"],
        "device": CPU,
        "groups": groups,
    }
    cached = decoding_flops(PAPER_12, past=100_000, **reading)
    again, _ = executed_flops(
        PAPER_12, batch_size=1, block_size=1, cached=[8192] * PAPER_12.layers, **reading
    )
    mean_reach = (7 * 93 + 2092) / 8
    paper = 2 * paper_macs_per_token(PAPER_12, mean_reach, position=True)
    assert cached == pytest.approx(paper + 2 * 512 * 27, rel=1e-3)
    assert (cached / 1e6, again / 1e6) == pytest.approx((88.2, 4402.5), abs=0.1)
