"""Cached keys and values: the very results of reading anew, for any span and way of reading."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from adaspan import AdaptiveSpan, DynamicSpan, FixedSpan, Span, Transformer
from adaspan.nn.attention import ANYWHERE, IMPLEMENTATIONS, Implementation
from adaspan.nn.cache import next_cache
from adaspan.nn.flops import Shape, decoding_flops

LIMIT = 40


class EveryOtherSpan(Span):
    """A span of a user's own: a token sees 3 or 20 back, known once it is read."""

    def __init__(self) -> None:
        super().__init__(LIMIT, 6)

    def forward(self, hidden_BMD: Tensor) -> Tensor:
        spans = torch.where(hidden_BMD[..., :1] > 0, 3.0, 20.0)
        return spans.expand(-1, -1, 4).transpose(1, 2)


SPANS: dict[str, Callable[[int], Span]] = {
    "adaptive": lambda layer: AdaptiveSpan(4, LIMIT, 6),
    "fixed": lambda layer: FixedSpan(4, LIMIT),
    "dynamic": lambda layer: DynamicSpan(16, 4, LIMIT, 6, initial_bias=-1.0),
    "own": lambda layer: EveryOtherSpan(),
}
EVERY_SPAN = pytest.mark.parametrize("span", SPANS)


def small_model(
    span: str,
    attention: str = "auto",
    layers: int = 2,
    persistent: int = 0,
    cutoffs: Sequence[int] = (),
) -> Transformer:
    model = Transformer(
        vocabulary_size=11,
        layers=layers,
        dim=16,
        heads=4,
        ffn_dim=24,
        make_span=SPANS[span],
        attention=attention,
        persistent=persistent,
        cutoffs=cutoffs,
        divisor=2,
    )
    for learned in model.spans:
        if isinstance(learned, AdaptiveSpan):
            learned.fraction.data = torch.tensor([0.01, 0.2, 0.02, 0.9])
    return model.double().eval().requires_grad_(False)


def read(model: Transformer, tokens_BM: Tensor, blocks: list[int]) -> Tensor:
    """Log-probabilities of a text, its keys and values cached."""
    caches = model.key_value_caches(len(tokens_BM), blocks[0])
    return torch.cat(
        [model(block, caches).log_probs_BMV for block in tokens_BM.split(blocks, dim=1)], dim=1
    )


@pytest.mark.slow
@EVERY_SPAN
@pytest.mark.parametrize("attention", ANYWHERE)
@pytest.mark.parametrize("persistent", [0, 5])
@pytest.mark.parametrize("blocks", [[1] * 90, [30, 1, 1, 7, 51]])
def test_cached_keys_and_values_give_what_one_long_block_gives(
    span: str, attention: str, persistent: int, blocks: list[int]
) -> None:
    model = small_model(span, attention, persistent=persistent)
    tokens = torch.randint(11, (3, sum(blocks)))
    with torch.no_grad():
        torch.testing.assert_close(
            read(model, tokens, blocks), model(tokens).log_probs_BMV, rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("span", ["adaptive", "dynamic"])
def test_an_attention_without_a_group_cost_gets_all_heads_of_a_layer_in_their_order(
    span: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it may have a constant for each, however they are read."""
    heads = []
    constant_H11 = torch.tensor([1.0, 2.0, 4.0, 8.0]).view(4, 1, 1)

    def attend_with_constants(*, query_BHMK: Tensor, **others: Any) -> tuple[Tensor, Tensor]:
        heads.append(query_BHMK.shape[1])
        return reference.attend(query_BHMK=query_BHMK * constant_H11, **others)

    reference = IMPLEMENTATIONS["reference"]
    own = Implementation(attend_with_constants, reference.macs, group_cost=None)
    monkeypatch.setitem(IMPLEMENTATIONS, "own", own)
    model, plain = small_model(span, "own"), small_model(span, "reference")
    plain.load_state_dict(model.state_dict())
    for layer in plain.typed_layers():
        layer.attention.query.weight.mul_(constant_H11.expand(4, 4, 1).reshape(16, 1))
    tokens = torch.randint(11, (1, 60))
    with torch.no_grad():
        wanted = plain(tokens).log_probs_BMV
        for blocks in ([1] * 60, [30, 1, 29]):
            torch.testing.assert_close(read(model, tokens, blocks), wanted, rtol=0, atol=1e-12)
    assert set(heads) == {4}


def test_memory_moves_to_its_front_and_nothing_is_lost() -> None:
    model = small_model("adaptive", layers=1)
    tokens = torch.randint(11, (1, 700))
    with torch.no_grad():
        torch.testing.assert_close(
            read(model, tokens, [300, 1, 255, 44, 100]),
            model(tokens).log_probs_BMV,
            rtol=0,
            atol=1e-12,
        )


def test_a_head_keeps_no_more_than_it_sees() -> None:
    model = small_model("adaptive", layers=1)
    (cache,) = model.key_value_caches(block=64)
    keys = {}
    with torch.no_grad():
        for group in cache.groups:
            block = torch.zeros(1, len(group.heads), 64, 4)
            for _ in range(8):
                keys[group.heads] = cache.extended(group, block, block)[0].shape[2] - 64
    assert keys == {(0, 2): 8, (1,): 15, (3,): 40} or keys == {(0, 1, 2): 15, (3,): 40}


def test_gradients_of_cached_keys_and_values_are_refused() -> None:
    model = small_model("adaptive")
    with pytest.raises(ValueError, match=re.escape("caches: keys and values are cached without")):
        model(torch.zeros(1, 1, dtype=torch.long), model.key_value_caches())


@pytest.mark.slow
@pytest.mark.parametrize(("span", "persistent"), [("adaptive", 0), ("adaptive", 5), ("fixed", 0)])
@pytest.mark.parametrize("attention", ANYWHERE)
def test_a_token_costs_what_is_counted_however_long_the_text(
    span: str, persistent: int, attention: str
) -> None:
    model = small_model(span, attention, persistent=persistent)
    caches = model.key_value_caches()
    shape = Shape(layers=2, dim=16, heads=4, ffn_dim=24, vocabulary_size=11, persistent=persistent)
    executed = {}
    with torch.no_grad():
        for past in range(120):
            token = torch.tensor([[past % 11]])
            if past not in (1, 5, LIMIT, LIMIT + 1, 119):
                model(token, caches)
                continue
            with FlopCounterMode(display=False) as counter:
                groups = model(token, caches).groups
            executed[past] = counter.get_total_flops()
            assert executed[past] == decoding_flops(
                shape,
                past=past,
                groups=groups,
                attention=IMPLEMENTATIONS[attention],
                device=torch.device("cpu"),
            )
    assert executed[LIMIT] == executed[LIMIT + 1] == executed[119]
    assert executed[1] < executed[5] < executed[LIMIT]


def test_a_dynamic_span_costs_what_the_token_itself_reaches() -> None:
    model = small_model("dynamic")
    caches = model.key_value_caches()
    costs = []
    with torch.no_grad():
        model(torch.randint(11, (1, 100)), caches)
        for bias in (-8.0, 8.0):
            for learned in model.spans:
                assert isinstance(learned, DynamicSpan)
                learned.gate.bias.fill_(bias)
            with FlopCounterMode(display=False) as counter:
                model(torch.tensor([[3]]), caches)
            costs.append(counter.get_total_flops())
    near, far = costs
    keys = LIMIT - 7  # z = 0 reaches R + 1 keys
    assert far - near == 2 * 2 * 3 * 16 * keys  # layers, FLOPs a MAC, products, width


def test_hidden_states_are_kept_in_the_type_of_the_cache() -> None:
    hidden = torch.rand(2, 3, 4)
    kept = next_cache(torch.zeros(2, 5, 4, dtype=torch.bfloat16), hidden, 6)
    assert kept.dtype == torch.bfloat16
    assert torch.equal(kept[:, -3:], hidden.bfloat16())
