"""Wrong shapes and values are refused before anything is computed, in words that help."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from adaspan.nn.attention import attend
from adaspan.nn.self_attention import AdaptiveSelfAttention
from adaspan.nn.span import AdaptiveSpan, DynamicSpan, FixedSpan, Span, soft_mask
from adaspan.nn.transformer import Transformer


def attend_with(**other: Any) -> Tensor:
    """A call that works, B=2, H=3, M=4, C=6, K=8, S=5, with some arguments replaced."""
    arguments: dict[str, Any] = {
        "query_BHMK": torch.zeros(2, 3, 4, 8),
        "key_BHCK": torch.zeros(2, 3, 6, 8),
        "value_BHCK": torch.zeros(2, 3, 6, 8),
        "position": torch.zeros(5, 8),
        "span": torch.zeros(3, 1),
        "ramp": 2.0,
    }
    return attend(**(arguments | other))


def test_the_call_that_the_wrong_ones_differ_from_works() -> None:
    assert attend_with().shape == (2, 3, 4, 8)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"query_BHMK": torch.zeros(4, 8)}, "query: must have shape (B, H, M, K), has (4, 8)"),
        (
            {"key_BHCK": torch.zeros(2, 3, 6, 7)},
            "key: must have shape (B=2, H=3, C, K=8), has (2, 3, 6, 7)",
        ),
        (
            {"value_BHCK": torch.zeros(2, 3, 5, 8)},
            "value: must have shape (B=2, H=3, C=6, K=8), has (2, 3, 5, 8)",
        ),
        (
            {"key_BHCK": torch.zeros(2, 3, 3, 8), "value_BHCK": torch.zeros(2, 3, 3, 8)},
            "key: must hold C tokens, the last M of them the queries' own, has C=3, M=4",
        ),
        (
            {"position": torch.zeros(5, 9)},
            "position: must have shape (S, K=8), has (5, 9)",
        ),
        ({"window": 7}, "position: must have shape (S=7, K=8), has (5, 8)"),
        (
            {"span": torch.zeros(3)},
            "span: must have shape (H=3, 1) or (B=2, H=3, M=4), has (3,)",
        ),
        ({"span": torch.zeros(4, 1)}, "has (4, 1)"),
        ({"span": torch.zeros(2, 3, 5)}, "has (2, 3, 5)"),
        (
            {"span": torch.zeros(3, 1, dtype=torch.bfloat16)},
            "span: must be float32 or float64, is torch.bfloat16",
        ),
        ({"ramp": None}, "ramp=None: must be given with a span"),
        ({"ramp": 0.0}, "ramp=0.0: must be a finite number above 0"),
        ({"ramp": -1.0}, "ramp=-1.0: must be a finite number above 0"),
        ({"ramp": math.nan}, "ramp=nan: must be a finite number above 0"),
        ({"dropout": 1.0}, "dropout=1.0: must be at least 0 and below 1"),
        ({"dropout": math.nan}, "dropout=nan: must be at least 0 and below 1"),
        ({"unmasked": -1}, "unmasked=-1: must be a whole number, at least 0"),
        ({"unmasked": 0.5}, "unmasked=0.5: must be a whole number, at least 0"),
        ({"ramp": torch.ones(())}, "ramp=tensor(1.): must be a finite number above 0"),
        (
            {"query_BHMK": [0.0]},
            "query: must be a tensor of shape (B, H, M, K), is a list",
        ),
        (
            {"query_BHMK": torch.zeros(2, 3, 4, 8, dtype=torch.long)},
            "query: must be floating point, is torch.int64",
        ),
        (
            {"query_BHMK": torch.zeros(0, 3, 4, 8), "key_BHCK": torch.zeros(0, 3, 6, 8)}
            | {"value_BHCK": torch.zeros(0, 3, 6, 8)},
            "query: must not be empty, has shape (0, 3, 4, 8)",
        ),
        ({"persistent": torch.zeros(3, 2, 8)}, "persistent: must be two tensors, keys and values"),
        ({"persistent": (torch.zeros(3, 2, 8),)}, "persistent: must be two tensors, keys and"),
        (
            {"position": None, "window": 0},
            "window=0: must be a whole number, at least 1",
        ),
        (
            {"persistent": (torch.zeros(3, 2, 8), torch.zeros(3, 4, 8))},
            "persistent value: must have shape (H=3, P=2, K=8), has (3, 4, 8)",
        ),
        (
            {"position": torch.zeros(5, 8, dtype=torch.long)},
            "position: must be floating point, is torch.int64",
        ),
        (
            {"persistent": (torch.zeros(3, 2, 8, dtype=torch.long), torch.zeros(3, 2, 8))},
            "persistent key: must be floating point, is torch.int64",
        ),
        (
            {"span": torch.tensor([[3.0], [math.nan], [3.0]])},
            "span=nan: must be a finite number, at least 0",
        ),
        ({"span": torch.tensor([[3.0], [-0.5], [3.0]])}, "span=-0.5: must be a finite number"),
        ({"span": torch.full((2, 3, 4), math.inf)}, "span=inf: must be a finite number"),
        (
            {"implementation": "flash"},
            "implementation=flash: must be one of auto, reference, banded",
        ),
    ],
)
def test_attend_names_what_must_be_and_what_is(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        attend_with(**wrong)


@pytest.mark.slow
def test_attend_may_be_part_of_a_compiled_graph() -> None:
    """Values are looked at only where that breaks no graph."""
    query, key, span = torch.randn(1, 2, 4, 8), torch.randn(1, 2, 9, 8), torch.full((2, 1), 3.0)

    def attended(query: Tensor, key: Tensor, span: Tensor) -> Tensor:
        return attend(query, key, key, span=span, ramp=2.0, implementation="reference")

    compiled = torch.compile(attended, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(query, key, span), attended(query, key, span))


def transformer(**other: Any) -> Transformer:
    shape: dict[str, Any] = {"vocabulary_size": 7, "layers": 2, "dim": 8, "heads": 2, "ffn_dim": 16}
    return Transformer(**({"make_span": lambda _: AdaptiveSpan(2, 12)} | shape | other))


def longer_above(layer: int) -> Span:
    return FixedSpan(2, 12 + layer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdaptiveSpan(4, 0), "limit=0: must be a whole number, at least 1"),
        (
            lambda: AdaptiveSpan(4, limit=cast(int, 0.5)),
            "limit=0.5: must be a whole number, at least 1",
        ),
        (
            lambda: AdaptiveSpan(4, limit=cast(int, "12")),
            "limit='12': must be a whole number, at least 1",
        ),
        (lambda: AdaptiveSpan(True, 9), "heads=True: must be a whole number, at least 1"),
        (
            lambda: AdaptiveSpan(4, 9, ramp=cast(float, "5")),
            "ramp='5': must be a finite number above 0",
        ),
        (lambda: AdaptiveSpan(0, 9), "heads=0: must be a whole number, at least 1"),
        (lambda: AdaptiveSpan(4, 9, ramp=0), "ramp=0: must be a finite number above 0"),
        (
            lambda: AdaptiveSpan(4, 9, loss_coefficient=-1),
            "loss_coefficient=-1: must be a finite number, at least 0",
        ),
        (
            lambda: AdaptiveSpan(4, 9, loss_coefficient=math.inf),
            "loss_coefficient=inf: must be a finite number, at least 0",
        ),
        (
            lambda: AdaptiveSpan(4, 9, initial_fraction=1.5),
            "initial_fraction=1.5: must be between 0 and 1",
        ),
        (
            lambda: AdaptiveSpan(4, 9, initial_fraction=cast(float, "a")),
            "initial_fraction='a': must be between 0 and 1",
        ),
        (
            lambda: DynamicSpan(8, 4, 9, initial_bias=cast(float, "a")),
            "initial_bias='a': must be a finite number",
        ),
        (
            lambda: soft_mask(cast(Tensor, [1]), torch.zeros(1), 2),
            "distance=[1]: must be a tensor",
        ),
        (
            lambda: soft_mask(torch.zeros(3), torch.zeros(2), 2),
            "shapes must broadcast: distance (3,), span (2,)",
        ),
        (
            lambda: transformer(make_span=lambda _: None),
            "span=None: must be a span, such as DynamicSpan(dim, heads, limit)",
        ),
        (lambda: DynamicSpan(0, 4, 9), "dim=0: must be a whole number, at least 1"),
        (
            lambda: DynamicSpan(8, 4, 9, initial_bias=math.nan),
            "initial_bias=nan: must be a finite number",
        ),
        (lambda: FixedSpan(4, -3), "limit=-3: must be a whole number, at least 1"),
        (lambda: soft_mask(torch.zeros(1), torch.zeros(1), 0), "ramp=0: must be a finite number"),
        (lambda: AdaptiveSelfAttention(30, 4, 9), "dim=30: must be divisible by heads=4"),
        (lambda: AdaptiveSelfAttention(32, 4, 0), "limit=0: must be a whole number, at least 1"),
        (lambda: AdaptiveSelfAttention(32, 4, 9, dropout=1), "dropout=1: must be at least 0 and"),
        (
            lambda: AdaptiveSelfAttention(32, 4, 9, span=FixedSpan(4, 10)),
            "limit=9: must equal the span's limit, 10",
        ),
        (
            lambda: AdaptiveSelfAttention(32, 4, 9, span=FixedSpan(2, 9)),
            "FixedSpan: heads=2: must be the layer's 4",
        ),
        (
            lambda: AdaptiveSelfAttention(32, 4, 9, span=AdaptiveSpan(3, 9)),
            "AdaptiveSpan: heads=3: must be the layer's 4",
        ),
        (
            lambda: AdaptiveSelfAttention(32, 4, 9, span=DynamicSpan(32, 3, 9)),
            "DynamicSpan: heads=3: must be the layer's 4",
        ),
        (
            lambda: AdaptiveSelfAttention(32, 4, 9, span=DynamicSpan(16, 4, 9)),
            "DynamicSpan: dim=16: must be the layer's 32",
        ),
        (
            lambda: AdaptiveSelfAttention(32, 4, 9, span=Span(9, ramp=3)),
            "Span.forward: is missing; it must give the spans of the heads",
        ),
        (
            lambda: AdaptiveSpan(4, 9, ramp=cast(float, None)),
            "ramp=None: must be a finite number above 0",
        ),
        (
            lambda: DynamicSpan(8, 4, 9, ramp=cast(float, None)),
            "ramp=None: must be a finite number above 0",
        ),
        (
            lambda: AdaptiveSelfAttention(32, 4, 9, implementation=cast(str, [])),
            "implementation=[]: must be one of auto, ",
        ),
        (
            lambda: AdaptiveSelfAttention(32, 4, 9, span=DynamicSpan(32, 4, 9), ramp=3),
            "ramp, loss_coefficient: must be given to the span, not to the layer",
        ),
        (lambda: AdaptiveSelfAttention(32, 4, 9, implementation="flash"), "implementation=flash:"),
        (
            lambda: AdaptiveSelfAttention(32, 4, 9, span=cast(Span, "dynamic")),
            "span='dynamic': must be a span, such as DynamicSpan(dim, heads, limit)",
        ),
        (lambda: transformer(layers=0), "layers=0: must be a whole number, at least 1"),
        (lambda: transformer(heads=3), "dim=8: must be divisible by heads=3"),
        (lambda: transformer(embedding_dropout=2), "embedding_dropout=2: must be at least 0 and"),
        (
            lambda: transformer(make_span=longer_above),
            "limit: must be the same in all layers, 12 in the first",
        ),
    ],
)
def test_values_out_of_range_are_refused_when_made(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    ("hidden", "cache", "message"),
    [
        ((2, 8), None, "hidden states: must have shape (B, M, D=8), has (2, 8)"),
        ((2, 5, 9), None, "hidden states: must have shape (B, M, D=8), has (2, 5, 9)"),
        ((2, 0, 8), None, "hidden states: must not be empty, have (2, 0, 8)"),
        ((0, 5, 8), None, "hidden states: must not be empty, have (0, 5, 8)"),
        ((2, 5, 8), (3, 4, 8), "cache: must have shape (B=2, C, D=8), has (3, 4, 8)"),
        ((2, 5, 8), (2, 4, 9), "cache: must have shape (B=2, C, D=8), has (2, 4, 9)"),
    ],
)
def test_the_layer_names_the_shapes_that_it_takes(
    hidden: tuple[int, ...], cache: tuple[int, ...] | None, message: str
) -> None:
    layer = AdaptiveSelfAttention(8, 2, 12)
    with pytest.raises(ValueError, match=re.escape(message)):
        layer(torch.zeros(hidden), None if cache is None else torch.zeros(cache))


def test_the_layer_names_the_types_that_it_takes() -> None:
    layer, hidden = AdaptiveSelfAttention(8, 2, 12), torch.zeros(2, 5, 8)
    with pytest.raises(ValueError, match=r"cache: must be a tensor .* is a tuple"):
        layer(hidden, layer(hidden))  # both that it returned
    with pytest.raises(ValueError, match=r"hidden states: must be torch.float32, are torch.float6"):
        layer(hidden.double())
    with pytest.raises(ValueError, match="cache: must be on cpu, is on meta"):
        layer(hidden, hidden.to("meta"))
    with pytest.raises(ValueError, match=r"cache: must be floating point, is torch.int64"):
        layer(hidden, hidden.long())


def test_a_dynamic_span_of_another_width_is_named() -> None:
    span = DynamicSpan(6, 2, 12)
    with pytest.raises(ValueError, match=re.escape("(B, M, D=6), has (2, 5, 8)")):
        span(torch.zeros(2, 5, 8))


def test_a_span_without_forward_is_named_where_it_is_called_too() -> None:
    with pytest.raises(NotImplementedError, match=r"Span\.forward: is missing"):
        Span(12, ramp=3)(torch.zeros(2, 5, 8))


def test_persistent_keys_that_are_no_tensors_are_told() -> None:
    one = torch.zeros(1, 1, 2, 4)
    with pytest.raises(ValueError, match="persistent: must be two tensors, keys and values"):
        attend(one, one, one, persistent=cast(tuple[Tensor, Tensor], 5))


class FlatSpan(Span):
    """A span of one's own that forgot a dimension."""

    def forward(self, hidden_BMD: Tensor) -> Tensor:
        return torch.zeros(2)


def test_a_span_of_ones_own_is_told_the_shape_that_it_must_give() -> None:
    layer = AdaptiveSelfAttention(8, 2, 12, span=FlatSpan(12, ramp=3))
    wanted = "span: must have shape (H=2, 1) or (B=3, H=2, M=4), has (2,)"
    with pytest.raises(ValueError, match=re.escape(wanted)):
        layer(torch.zeros(3, 4, 8))


@pytest.mark.parametrize(
    ("tokens", "caches", "message"),
    [
        (torch.zeros(5, dtype=torch.long), None, "tokens: must have shape (B, M), has (5,)"),
        ([[1, 2]], None, "tokens: must be a tensor of shape (B, M), is a list"),
        (
            torch.zeros(2, 0, dtype=torch.long),
            None,
            "tokens: must not be empty, has shape (2, 0)",
        ),
        (torch.zeros(2, 5), None, "tokens: must be int64 or int32, is torch.float32"),
        (torch.tensor([[1, 99]]), None, "token=99: must be 0 to 6"),
        (torch.tensor([[1, -1]]), None, "token=-1: must be 0 to 6"),
        (torch.zeros(2, 5, dtype=torch.long, device="meta"), None, "tokens: must be on cpu, is on"),
        (torch.zeros(2, 5, dtype=torch.long), [], "caches: must be 2, one per layer, are 0"),
        (
            torch.zeros(2, 5, dtype=torch.long),
            [torch.zeros(3, 0, 8)] * 2,
            "cache: must have shape (B=2, C, D=8), has (3, 0, 8)",
        ),
        (
            torch.zeros(2, 5, dtype=torch.long),
            [torch.zeros(2, 3, 8, dtype=torch.long)] * 2,
            "cache: must be floating point, is torch.int64",
        ),
        (
            torch.zeros(2, 5, dtype=torch.long),
            [torch.zeros(2, 3, 8).double()] * 2,
            "cache: must be torch.float32, is torch.float64",
        ),
        (
            torch.zeros(2, 5, dtype=torch.long),
            [torch.zeros(2, 3, 8, device="meta")] * 2,
            "cache: must be on cpu, is on meta",
        ),
    ],
)
def test_the_model_names_what_it_reads(
    tokens: Tensor, caches: list[Tensor] | None, message: str
) -> None:
    model = transformer()
    with pytest.raises(ValueError, match=re.escape(message)):
        model(tokens, model.empty_caches(2) if caches is None else caches)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.zeros(2, 4, dtype=torch.long), "targets: must have shape (B=2, M=5), has (2, 4)"),
        (torch.zeros(2, 5), "targets: must be int64 or int32, is torch.float32"),
        (torch.full((2, 5), 7), "target=7: must be 0 to 6"),
        (torch.full((2, 5), -100), "target=-100: must be 0 to 6"),  # what nll_loss ignores
    ],
)
def test_targets_are_one_for_each_token(targets: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        transformer()(torch.zeros(2, 5, dtype=torch.long), targets_BM=targets)


@pytest.mark.parametrize("wrong", [-100, -1, 7, 99])
def test_an_id_that_there_is_not_is_named_where_rare_tokens_share_clusters(wrong: int) -> None:
    model, tokens = transformer(cutoffs=[3]), torch.zeros(2, 5, dtype=torch.long)
    with pytest.raises(ValueError, match=f"token={wrong}: must be 0 to 6"):
        model(tokens + wrong)
    with pytest.raises(ValueError, match=f"target={wrong}: must be 0 to 6"):
        model(tokens, targets_BM=tokens + wrong)


@pytest.mark.parametrize(
    ("tokens", "layer", "head", "message"),
    [
        ([1, 2], 2, 0, "layer=2: must be 0 to 1"),
        ([1, 2], 0, -1, "head=-1: must be 0 to 1"),
        ([1, 2], None, 0, "layer=None: must be 0 to 1"),
        ("1, 2", 0, 0, "tokens: must be token ids, is a str; a vocabulary's encode(text) gives"),
        (["1"], 0, 0, "tokens: must be token ids, is a list"),
        ([1, 7], 0, 0, "token=7: must be 0 to 6"),
        ([[1, 2]], 0, 0, "tokens: must have shape (T), has (1, 2)"),
        ([0.5], 0, 0, "tokens: must be int64 or int32, is torch.float32"),
        (torch.zeros(0, dtype=torch.long), 0, 0, "tokens: must not be empty, has shape (0,)"),
    ],
)
def test_attention_of_names_what_there_is(tokens: Any, layer: Any, head: int, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        transformer().attention_of(tokens, layer, head)
