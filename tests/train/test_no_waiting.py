"""A step leaves nothing to the CPU, so that a GPU never waits: seen without a GPU.

torch's fake tensors know shapes, dtypes and devices, but hold no numbers. Reading one back raises,
and so does computing with two on different devices. The device is `meta` here, whose rules are
those of a GPU in these respects, and which every machine has. What this cannot see: autocast, and
copies to the device, which wait if their source is not pinned.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorDeviceMismatchError,
    FakeTensorMode,
)

from adaspan.config.kinds.optimizer import AdagradConfig, AdamConfig, OptimizerConfig, SgdConfig
from adaspan.config.kinds.span import (
    AdaptiveSpanConfig,
    DynamicSpanConfig,
    FixedSpanConfig,
    SpanConfig,
)
from adaspan.config.schema import ModelConfig
from adaspan.nn.attention import ANYWHERE
from adaspan.nn.attention.groups import Group
from adaspan.nn.span import AdaptiveSpan
from adaspan.nn.transformer import Transformer
from adaspan.train.build import make_model
from adaspan.train.optim import clip_gradients

SHAPE = ModelConfig(layers=2, dim=64, heads=4, ffn_dim=64, dropout=0.1, embedding_dropout=0.1)
SPANS = [
    AdaptiveSpanConfig(limit=256, ramp=32, loss_coefficient=1e-6),
    DynamicSpanConfig(limit=256, ramp=32, loss_coefficient=1e-6),
    FixedSpanConfig(limit=256),
]
OPTIMIZERS = [
    AdagradConfig(lr=0.1, grad_clip=0.03),
    AdamConfig(lr=0.1, grad_clip=0.03),
    SgdConfig(lr=0.1, grad_clip=0.03),
]


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` has none."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


def groups_of(span: SpanConfig, attention: str) -> list[Sequence[Group]]:
    """What the step may read, with several groups where spans differ: for all layers beforehand, or
    in each layer, if its spans differ from token to token.
    """
    model = make_model(SHAPE, span, 50, attention)
    first = model.spans[0]
    if isinstance(first, AdaptiveSpan):
        with torch.no_grad():
            first.fraction.copy_(torch.tensor([0.0, 0.1, 0.5, 1.0]))
    groups: list[Sequence[Group]] = model(torch.randint(50, (2, 32))).groups
    return groups


def model_on_meta(span: SpanConfig, attention: str) -> Transformer:
    with torch.device("meta"):
        return make_model(SHAPE, span, 50, attention)


@pytest.mark.slow
@pytest.mark.parametrize("span", SPANS, ids=lambda s: s.kind)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.kind)
@pytest.mark.parametrize("attention", ANYWHERE)
def test_a_step_reads_nothing_back_and_stays_on_its_device(
    span: SpanConfig, attention: str, optimizer: OptimizerConfig
) -> None:
    plan = groups_of(span, attention)
    with FakeTensorMode():
        model = model_on_meta(span, attention)
        parameters = list(model.parameters())
        update = optimizer.build(parameters)
        tokens = torch.empty(2, 32, dtype=torch.long, device="meta")
        caches = model.empty_caches(2)
        for _ in range(2):
            output = model(tokens, caches, plan, tokens)
            loss = output.nats_BM.mean()
            torch.autograd.backward(loss + output.penalty)
            caches = output.caches
            clip_gradients(optimizer, parameters)
            update.step()
            update.zero_grad()
            model.clamp_spans_()
        assert {loss.device.type, *(cache.device.type for cache in caches)} == {"meta"}


def test_reading_back_and_leaving_the_device_would_be_seen() -> None:
    with FakeTensorMode():
        model = model_on_meta(SPANS[0], "auto")
        with pytest.raises(DataDependentOutputException):
            model.plan(2, 32)
        with pytest.raises(FakeTensorDeviceMismatchError):
            model.position_SK + torch.zeros(16)
