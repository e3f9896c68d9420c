"""Counted FLOPs against the paper's figures and against what torch itself counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from adaspan.config.schema import (
    AdaptiveSpanConfig,
    DynamicSpanConfig,
    FixedSpanConfig,
    ModelConfig,
    SpanConfig,
)
from adaspan.flops import Shape, forward_flops, paper_macs_per_token, training_flops
from adaspan.model import make_model

PAPER_12 = Shape(layers=12, dim=512, ffn_dim=2048, vocabulary_size=27)


@pytest.mark.parametrize(
    ("shape", "mean_span", "millions"),
    [
        (PAPER_12, 314, 41.6),  # Table 1: 42M
        (PAPER_12, 256, 40.9),
        (PAPER_12, 1024, 50.3),
        (PAPER_12, 8192, 138.4),
        (Shape(24, 1024, 3072, 27), 3800, 438.4),  # Transformer-XL's row: 438M
        (Shape(24, 768, 4096, 27), 245, 216.6),  # the stated inner width ...
        (Shape(24, 768, 3072, 27), 245, 178.9),  # ... and the one that gives the printed 179M
    ],
)
def test_papers_convention_gives_the_papers_figures(
    shape: Shape, mean_span: float, millions: float
) -> None:
    assert paper_macs_per_token(shape, mean_span) / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(
    "span",
    [
        AdaptiveSpanConfig(limit=40, ramp=5, loss_coefficient=0.1, initial_fraction=0.3),
        FixedSpanConfig(limit=40),
        DynamicSpanConfig(limit=40, ramp=5, loss_coefficient=0.1),
    ],
    ids=lambda span: span.kind,
)
def test_executed_flops_are_what_torch_counts(span: SpanConfig) -> None:
    batch, block = 3, 16
    shape = ModelConfig(layers=2, dim=32, heads=4, ffn_dim=48)
    model = make_model(shape, span, vocabulary_size=19)
    gates = 4 if isinstance(span, DynamicSpanConfig) else 0
    counted = Shape(layers=2, dim=32, ffn_dim=48, vocabulary_size=19, span_gates=gates)
    caches = model.empty_caches(batch)
    for _ in range(4):
        reaches = model.reaches()
        keys = [min(c.shape[1], r) + block for c, r in zip(caches, reaches, strict=True)]
        with FlopCounterMode(display=False) as counter:
            output = model(torch.randint(19, (batch, block)), caches)
            forward = counter.get_total_flops()
            (-output.log_probs_BMV.mean() + output.penalty).backward()
        assert forward == batch * forward_flops(counted, block, keys, reaches)
        assert counter.get_total_flops() == batch * training_flops(counted, block, keys, reaches)
        caches = output.caches
