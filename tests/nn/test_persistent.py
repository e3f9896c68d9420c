"""Persistent memory in the layer and the model, and layers without feed-forward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from adaspan.config.kinds.span import AdaptiveSpanConfig, FixedSpanConfig, SpanConfig
from adaspan.config.schema import ModelConfig
from adaspan.nn.attention import ANYWHERE
from adaspan.nn.layers import TransformerLayer
from adaspan.nn.multi_head_attention import MultiHeadAttention
from adaspan.nn.persistent import PersistentMemory
from adaspan.nn.self_attention import AdaptiveSelfAttention
from adaspan.nn.span import AdaptiveSpan
from adaspan.nn.transformer import Transformer
from adaspan.train.build import make_model

ADAPTIVE = AdaptiveSpanConfig(limit=512, ramp=8, loss_coefficient=0.1)
FIXED = FixedSpanConfig(limit=16)
ALL_ATTENTION = ModelConfig(layers=2, dim=16, heads=4, ffn_dim=0, persistent=6)


def model_of(
    span: SpanConfig = ADAPTIVE, attention: str = "auto", shape: ModelConfig = ALL_ATTENTION
) -> Transformer:
    torch.manual_seed(0)
    model = make_model(shape, span, 11, attention).double()
    for learned in model.spans:
        if isinstance(learned, AdaptiveSpan):
            learned.fraction.data = torch.tensor([0.3, 0.01, 0.9, 0.02]).double()
    return model


def read(model: Transformer, tokens: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities of a text, and the loss with which it is learned."""
    caches, outputs, penalty = None, [], torch.zeros(())
    for part in tokens.split(block, dim=1):
        output = model(part, caches)
        caches, penalty = output.caches, output.penalty
        outputs.append(output.log_probs_BMV)
    log_probs_BTV = torch.cat(outputs, dim=1)
    return log_probs_BTV, log_probs_BTV[:, -block:].square().mean() + penalty


@pytest.mark.slow
def test_the_model_and_its_gradients_are_the_references_in_float64() -> None:
    """With heads in windows of their own, each of which the memory joins by itself."""
    found, groups = [], []
    for implementation in ANYWHERE:
        model = model_of(attention=implementation)
        log_probs, loss = read(model, torch.randint(11, (2, 900)), block=300)
        loss.backward()
        groups.append(len(model.plan(1, 8)[0] or ()))
        found.append([log_probs, *(parameter.grad for parameter in model.parameters())])
    assert groups == [1, 3]
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert ours is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("span", [ADAPTIVE, FIXED], ids=lambda span: span.kind)
def test_a_token_attends_by_one_softmax_over_text_and_memory(span: SpanConfig) -> None:
    """Written out for the tokens of one block, with nothing of ours but the weights."""
    model = model_of(span)
    attention = model.get_submodule("layers.0.attention")
    assert isinstance(attention, MultiHeadAttention)
    assert isinstance(attention.persistent, PersistentMemory)
    hidden = torch.randn(1, 12, 16).double()
    found = attention(hidden, hidden[:, :0], model.position_SK, None).hidden_BMD
    query, key, value = (
        project(hidden)[0].view(12, 4, 4).transpose(0, 1)
        for project in (attention.query, attention.key, attention.value)
    )
    z = attention.span(hidden)
    memory_key = attention.persistent.key_HPK * 4**0.5
    memory_value = attention.persistent.value_HPK * 6**0.5
    rows = []
    for t in range(12):
        past = torch.arange(t)
        scores = [query[h, t] @ (key[h, :t] + model.position_SK[t - 1 - past]).T for h in range(4)]
        weights = (torch.stack(scores) / 2).exp()
        if z is not None:
            weights = weights * ((8 + z - (t - 1 - past)) / 8).clamp(0, 1)
        own = torch.einsum("hk,hpk->hp", query[:, t], memory_key).div(2).exp()
        total = weights.sum(-1, keepdim=True) + own.sum(-1, keepdim=True)
        seen = torch.einsum("ht,htk->hk", weights / total, value[:, :t])
        rows.append((seen + torch.einsum("hp,hpk->hk", own / total, memory_value)).flatten())
    expected = attention.output(torch.stack(rows))
    torch.testing.assert_close(found[0], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("blocks", [1, 7, 20])
def test_blocks_with_a_cache_equal_one_long_block(blocks: int) -> None:
    model = model_of(FIXED)
    tokens = torch.randint(11, (3, 40))
    torch.testing.assert_close(
        read(model, tokens, blocks)[0], read(model, tokens, 40)[0], rtol=1e-11, atol=1e-12
    )


def test_weights_of_a_text_sum_to_what_the_memory_leaves() -> None:
    """The output is theirs and the memory's: what they leave goes to the memory's values."""
    model = model_of(FIXED)
    attention = model.get_submodule("layers.1.attention")
    assert isinstance(attention, MultiHeadAttention)
    assert isinstance(attention.persistent, PersistentMemory)
    inputs: list[tuple[Tensor, Tensor]] = []
    attention.register_forward_hook(lambda _, given, output: inputs.append((given[0], output[0])))
    with torch.no_grad():  # one value for all of a head's memory, whatever its weights
        attention.persistent.value_HPK.copy_(torch.randn(4, 1, 4).expand(4, 6, 4))
    tokens = torch.randint(11, (25,))
    model(tokens[None])
    ((hidden, expected),) = inputs
    value_HTK = attention.value(hidden)[0].view(25, 4, 4).transpose(0, 1)
    weights_HTT = torch.stack([model.attention_of(tokens, 1, head) for head in range(4)])
    left = 1 - weights_HTT.sum(-1, keepdim=True)
    assert left[:, 0].unique().tolist() == [1]  # the first token sees nothing else
    assert 0 < left[:, 1:].min() < left[:, 1:].max() < 1
    averaged = weights_HTT @ value_HTK + left * 6**0.5 * attention.persistent.value_HPK[:, :1]
    output = attention.output(averaged.transpose(0, 1).flatten(1))
    torch.testing.assert_close(output, expected[0], rtol=1e-11, atol=1e-12)


def test_it_is_drawn_small_and_used_large() -> None:
    """Keys N(0, 1) / sqrt(K) times sqrt(K), values N(0, 1) / sqrt(P) times sqrt(P)."""
    memory = PersistentMemory(heads=8, head_dim=64, size=256)
    assert memory.key_HPK.std().item() == pytest.approx(64**-0.5, rel=0.01)
    assert memory.value_HPK.std().item() == pytest.approx(256**-0.5, rel=0.01)
    for used in memory():
        assert used.shape == (8, 256, 64)
        assert used.std().item() == pytest.approx(1, rel=0.01)


def test_without_it_a_model_is_drawn_as_before() -> None:
    """With it, every other weight of a layer is drawn before the layer's memory."""
    plain, own = (model_of(shape=ModelConfig(2, 16, 4, 8, persistent=p)) for p in (0, 6))
    assert not [name for name in plain.state_dict() if "persistent" in name]
    for name in ("query", "key", "value", "output"):
        key = f"layers.0.attention.{name}.weight"
        assert torch.equal(plain.state_dict()[key], own.state_dict()[key])


@pytest.mark.parametrize("persistent", [0, 6])
def test_without_feed_forward_a_layer_is_attention_and_norm(persistent: int) -> None:
    model = model_of(shape=ModelConfig(2, 16, 4, ffn_dim=0, persistent=persistent))
    parts = {name.split(".")[2] for name in model.state_dict() if name.startswith("layers.")}
    assert parts == {"attention", "attention_norm"}
    layer = model.get_submodule("layers.0")
    assert isinstance(layer, TransformerLayer)
    hidden, groups = torch.randn(2, 9, 16).double(), model.plan(2, 9)[0]
    cache = hidden[:, :0]
    attended = layer.attention(hidden, cache, model.position_SK, groups).hidden_BMD
    expected = torch.nn.functional.layer_norm(hidden + attended, (16,))
    found = layer(hidden, cache, model.position_SK, groups).hidden_BMD
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    model.compile_parts()  # of which there are none


def test_the_layer_for_a_model_of_ones_own_has_it_too() -> None:
    layer = AdaptiveSelfAttention(16, 4, 32, persistent=6).double()
    output, cache = layer(torch.randn(2, 9, 16).double())
    output, _ = layer(torch.randn(2, 9, 16).double(), cache)
    (output.square().mean() + layer.penalty()).backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    memory = dict(layer.named_parameters())["attention.persistent.key_HPK"]
    assert memory.grad is not None
    assert memory.grad.abs().min() > 0


@pytest.mark.parametrize("size", [-1, 0.5, True])
def test_a_wrong_number_of_keys_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=f"persistent={size}: must be a whole number, at least 0"):
        AdaptiveSelfAttention(16, 4, 32, persistent=size)
