"""Every implementation against the oracle: output and the gradient of every input."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from adaspan.nn.attention import ANYWHERE, IMPLEMENTATIONS, attend
from adaspan.nn.attention.banded import attend_banded, banded_macs
from adaspan.nn.attention.implementation import Implementation
from adaspan.nn.attention.tiles import Tiling
from adaspan.nn.span import soft_mask

FAST = [name for name in ANYWHERE if name != "reference"]


class Case(NamedTuple):
    """Shapes and spans of one call."""

    batch: int
    heads: int
    block: int
    cached: int
    window: int
    head_dim: int
    ramp: float
    kind: str  # fixed, adaptive or dynamic
    spans: list[float]  # as fractions of the window, one a head
    persistent: int
    dropout: float
    seed: int


def cases_of(heads: int) -> st.SearchStrategy[Case]:
    fraction = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
    return st.builds(
        Case,
        batch=st.integers(1, 3),
        heads=st.just(heads),
        block=st.integers(1, 130),
        cached=st.sampled_from([0, 1, 7, 64, 300]),
        window=st.sampled_from([1, 2, 33, 64, 257, 300]),
        head_dim=st.sampled_from([1, 4, 8]),
        ramp=st.sampled_from([1.0, 3.5, 32.0]),
        kind=st.sampled_from(["fixed", "adaptive", "dynamic"]),
        spans=st.lists(fraction, min_size=heads, max_size=heads),
        persistent=st.sampled_from([0, 0, 5]),
        dropout=st.sampled_from([0.0, 0.0, 0.4]),
        seed=st.integers(0, 2**31),
    )


cases = st.integers(1, 4).flatmap(cases_of)


def inputs(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """Every tensor of a call; the same numbers in each precision."""
    torch.manual_seed(case.seed)
    shape = (case.batch, case.heads, case.cached + case.block, case.head_dim)
    tensors = {
        "query": torch.randn(case.batch, case.heads, case.block, case.head_dim).double(),
        "key": torch.randn(shape).double(),
        "value": torch.randn(shape).double(),
        "position": torch.randn(case.window, case.head_dim).double(),
    }
    if case.kind == "adaptive":
        tensors["span"] = (
            torch.tensor(case.spans, dtype=torch.float64).unsqueeze(1).double() * case.window
        )
    if case.kind == "dynamic":
        tensors["span"] = torch.rand(case.batch, case.heads, case.block).double() * case.window
    if case.persistent:
        memory = (case.heads, case.persistent, case.head_dim)
        tensors["persistent_key"] = torch.randn(memory).double()
        tensors["persistent_value"] = torch.randn(memory).double()
    return {name: tensor.to(dtype).requires_grad_() for name, tensor in tensors.items()}


def run(case: Case, dtype: torch.dtype, implementation: str, unmasked: int = 0) -> list[Tensor]:
    """Output, then the gradient of each input."""
    tensors = inputs(case, dtype)
    torch.manual_seed(case.seed + 1)  # of the dropout
    output = attend(
        tensors["query"],
        tensors["key"],
        tensors["value"],
        tensors["position"],
        span=tensors.get("span"),
        ramp=case.ramp,
        unmasked=unmasked,
        persistent=(
            (tensors["persistent_key"], tensors["persistent_value"]) if case.persistent else None
        ),
        dropout=case.dropout,
        implementation=implementation,
    )
    torch.manual_seed(case.seed + 2)
    given_back = torch.randn(output.shape).to(dtype)
    gradients = torch.autograd.grad(output, list(tensors.values()), given_back)
    return [output.detach(), *gradients]


def farthest(ours: list[Tensor], exact: list[Tensor]) -> list[float]:
    """Largest error of each tensor, against its largest entry."""
    return [
        ((one.double() - other).abs().max() / other.abs().max().clamp(min=1)).item()
        for one, other in zip(ours, exact, strict=True)
    ]


def typical(ours: list[Tensor], exact: list[Tensor]) -> list[float]:
    """Root mean square of each tensor's errors."""
    return [
        (one.double() - other).square().mean().sqrt().item()
        for one, other in zip(ours, exact, strict=True)
    ]


many = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@many
@given(case=cases)
@pytest.mark.slow
@pytest.mark.parametrize("implementation", FAST)
def test_float64_agrees_with_the_oracle(implementation: str, case: Case) -> None:
    exact = run(case, torch.float64, "reference")
    assert all(far < 1e-10 for far in farthest(run(case, torch.float64, implementation), exact))


@many
@given(case=cases)
@pytest.mark.slow
@pytest.mark.parametrize("implementation", FAST)
def test_float32_rounds_at_most_twice_as_much_as_the_oracle(
    implementation: str, case: Case
) -> None:
    exact = run(case, torch.float64, "reference")
    theirs = typical(run(case, torch.float32, "reference"), exact)
    ours = typical(run(case, torch.float32, implementation), exact)
    for one, other, tensor in zip(ours, theirs, exact, strict=True):
        # Chance, for some have few entries; and of one key alone the oracle's are exact, and 0.
        chance = 3e-6 * max(1, tensor.abs().max().item())
        assert one <= 2 * other + chance


@pytest.mark.slow
@pytest.mark.parametrize("implementation", FAST)
def test_float32_rounds_each_tensor_at_most_twice_as_much_over_many_cases(
    implementation: str,
) -> None:
    """Without any allowance for chance; errors against the size of the tensor, squared, summed."""
    ours: dict[str, float] = defaultdict(float)
    theirs: dict[str, float] = defaultdict(float)
    for seed in range(120):
        case = random_case(seed)
        exact = run(case, torch.float64, "reference")
        names = ["output", *inputs(case, torch.float64)]
        for found, name in ((theirs, "reference"), (ours, implementation)):
            errors = typical(run(case, torch.float32, name), exact)
            for tensor, value, error in zip(names, exact, errors, strict=True):
                size = value.square().mean().sqrt().item()
                if size > 1e-6:
                    found[tensor] += (error / size) ** 2
    assert ours.keys() == {"output", *("query", "key", "value", "position", "span")} | {
        "persistent_key",
        "persistent_value",
    }
    for tensor, squares in ours.items():
        assert squares**0.5 <= 2 * theirs[tensor] ** 0.5, tensor


def random_case(seed: int) -> Case:
    """As `cases`, but always the same."""
    choose = random.Random(seed)
    heads = choose.randint(1, 4)
    return Case(
        batch=choose.randint(1, 3),
        heads=heads,
        block=choose.randint(1, 130),
        cached=choose.choice([0, 1, 7, 64, 300]),
        window=choose.choice([2, 33, 64, 257, 300]),
        head_dim=choose.choice([1, 4, 8]),
        ramp=choose.choice([1.0, 3.5, 32.0]),
        kind=choose.choice(["fixed", "adaptive", "dynamic"]),
        spans=[choose.choice([0.0, 1.0, choose.random()]) for _ in range(heads)],
        persistent=choose.choice([0, 0, 5]),
        dropout=choose.choice([0.0, 0.0, 0.4]),
        seed=seed,
    )


PLAIN = Case(2, 3, 70, 90, 80, 8, 16.0, "adaptive", [0.0, 0.31, 0.77], 0, 0.0, 1)


@pytest.mark.parametrize("implementation", FAST)
def test_what_is_known_to_be_unmasked_changes_nothing(implementation: str) -> None:
    case = PLAIN._replace(spans=[0.4, 0.5, 0.9])
    for ours, theirs in zip(
        run(case, torch.float64, implementation, unmasked=32),
        run(case, torch.float64, implementation),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("implementation", FAST)
def test_spans_that_mask_nothing_get_a_gradient_of_zero(implementation: str) -> None:
    case = PLAIN._replace(spans=[1.0, 1.0, 1.0])
    *_, d_span = run(case, torch.float64, implementation, unmasked=case.window)
    assert torch.all(d_span == 0)


@pytest.mark.parametrize("implementation", FAST)
def test_a_query_without_keys_passes_no_gradient_however_large(implementation: str) -> None:
    case = PLAIN._replace(batch=1, heads=1, block=2, cached=0, kind="fixed")
    tensors = inputs(case, torch.float32)
    query, key, value, position = tensors.values()
    output = attend(query, key, value, position, implementation=implementation)
    for gradient in torch.autograd.grad(output[:, :, 0].sum() * 1e20, list(tensors.values())):
        assert torch.all(gradient == 0)


@pytest.mark.parametrize("implementation", FAST)
@pytest.mark.parametrize("spans", [[2.0, 3.0, 0.0], [80.0, 64.0, 63.9999]])
def test_a_span_at_its_kinks_has_the_oracles_gradient(
    implementation: str, spans: list[float]
) -> None:
    """Whole tokens, where the mask's two bends meet a key, and spans at the limit."""
    case = PLAIN._replace(ramp=4.0, spans=[span / PLAIN.window for span in spans])
    exact = run(case, torch.float64, "reference")
    assert all(far < 1e-10 for far in farthest(run(case, torch.float64, implementation), exact))


Tiled = Callable[[Tiling], str]


@pytest.fixture
def tiled(monkeypatch: pytest.MonkeyPatch) -> Tiled:
    """The banded attention with tiles of other sizes, under a name of its own."""

    def known(tiling: Tiling) -> str:
        attention = Implementation(
            partial(attend_banded, tiling=tiling), partial(banded_macs, tiling=tiling), None
        )
        monkeypatch.setitem(IMPLEMENTATIONS, "tiled", attention)
        return "tiled"

    return known


@pytest.mark.parametrize("saved", [0, 2])  # of the six sequences
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_weights_that_are_computed_twice_are_the_same(
    dropout: float, saved: int, tiled: Tiled
) -> None:
    case = PLAIN._replace(dropout=dropout)
    two_at_once = 2 * 64 * (64 + 80)  # so that sums have the same order whatever is saved
    once = run(case, torch.float64, tiled(Tiling(scores=two_at_once)))
    one_sequence = 8 * (64 * (64 + 79) + 6 * (6 + 79))  # its two tiles, in bytes
    again = tiled(Tiling(saved * one_sequence, two_at_once))
    for ours, theirs in zip(run(case, torch.float64, again), once, strict=True):
        assert torch.equal(ours, theirs)


def test_tiles_that_hold_few_sequences_add_up(tiled: Tiled) -> None:
    whole = run(PLAIN, torch.float64, "banded")
    small = tiled(Tiling(scores=4 * 64 * 144))
    for ours, theirs in zip(run(PLAIN, torch.float64, small), whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.slow
def test_tiles_as_a_gpu_has_them_agree_with_the_oracle(tiled: Tiled) -> None:
    implementation = tiled(Tiling(as_on_gpu=True))
    for seed in range(40):
        case = random_case(seed)
        exact = run(case, torch.float64, "reference")
        assert all(far < 1e-10 for far in farthest(run(case, torch.float64, implementation), exact))


@pytest.mark.parametrize("implementation", ANYWHERE)
def test_persistent_keys_share_the_softmax_with_the_window(implementation: str) -> None:
    case = PLAIN._replace(batch=1, heads=1, block=1, cached=6, window=6, kind="fixed", persistent=3)
    tensors = inputs(case, torch.float64)
    scores = torch.cat(
        [
            (tensors["query"] @ tensors["key"].mT)[0, 0, 0, :6]
            + (tensors["query"] @ tensors["position"].T)[0, 0, 0].flip(0),
            (tensors["query"][0, 0] @ tensors["persistent_key"][0].T)[0],
        ]
    )
    values = torch.cat([tensors["value"][0, 0, :6], tensors["persistent_value"][0]])
    expected = (scores / 8**0.5).softmax(0) @ values
    torch.testing.assert_close(run(case, torch.float64, implementation)[0].flatten(), expected)


@pytest.mark.parametrize("implementation", ANYWHERE)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_persistent_keys_are_more_columns_of_the_matrix_gradients_included(
    implementation: str, dropout: float
) -> None:
    """Against one softmax over all columns, which no implementation computes like that."""
    case = PLAIN._replace(block=20, cached=9, window=12, ramp=4.0, persistent=3, dropout=dropout)
    expected = one_softmax(case)
    found = run(case, torch.float64, implementation)
    assert len(found) == 8
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def one_softmax(case: Case) -> list[Tensor]:
    """What `run` gives: softmax over keys and persistent keys, mask, renormalise, drop."""
    tensors = inputs(case, torch.float64)
    query, key, value, position, span, persistent_key, persistent_value = tensors.values()
    shape = (case.batch, case.heads, case.block)
    torch.manual_seed(case.seed + 1)
    kept_window = torch.empty(*shape, case.window, dtype=torch.bool).bernoulli_(1 - case.dropout)
    kept_window = kept_window.double() / (1 - case.dropout)
    kept_persistent = F.dropout(torch.ones(*shape, case.persistent).double(), case.dropout)
    scores, kept = [], []
    for i in range(case.block):  # a row is the columns of one query: all keys, then the persistent
        row, row_kept = [], []
        for j in range(case.cached + case.block):
            x = case.cached + i - 1 - j
            seen = 0 <= x < case.window
            x = x if seen else 0
            mask = soft_mask(torch.tensor(x), span[:, 0], case.ramp) * seen
            score = (query[:, :, i] * (key[:, :, j] + position[x])).sum(-1)
            row.append((score / case.head_dim**0.5).exp() * mask)
            row_kept.append(kept_window[:, :, i, case.window - 1 - x])
        own = torch.einsum("bhk,hpk->bhp", query[:, :, i], persistent_key)
        scores.append(torch.cat([torch.stack(row, -1), (own / case.head_dim**0.5).exp()], -1))
        kept.append(torch.cat([torch.stack(row_kept, -1), kept_persistent[:, :, i]], -1))
    weights = torch.stack(scores, 2)
    weights = weights / weights.sum(-1, keepdim=True) * torch.stack(kept, 2)
    everything = torch.cat([value, persistent_value.expand(case.batch, -1, -1, -1)], 2)
    output = weights @ everything
    torch.manual_seed(case.seed + 2)
    given_back = torch.randn(output.shape).double()
    return [output.detach(), *torch.autograd.grad(output, list(tensors.values()), given_back)]


@pytest.mark.parametrize("implementation", FAST)
@pytest.mark.parametrize("kind", ["adaptive", "dynamic"])
def test_a_second_backward_pass_gives_the_same_again(implementation: str, kind: str) -> None:
    case = PLAIN._replace(kind=kind)
    tensors = inputs(case, torch.float64)
    query, key, value, position, span = tensors.values()
    output = attend(
        query, key, value, position, span=span, ramp=case.ramp, implementation=implementation
    )
    once = torch.autograd.grad(output.sum(), list(tensors.values()), retain_graph=True)
    first = [gradient.clone() for gradient in once]
    again = torch.autograd.grad(output.sum(), list(tensors.values()))
    for one, other, kept in zip(first, again, once, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, kept)


@pytest.mark.slow
@pytest.mark.parametrize("implementation", FAST)
def test_no_weights_are_kept_where_no_gradient_is_wanted(implementation: str) -> None:
    case = PLAIN._replace(window=2000, cached=2000, block=256)
    tensors = {name: tensor.detach() for name, tensor in inputs(case, torch.float32).items()}
    query, key, value, position, span = tensors.values()
    with (
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler,
        torch.no_grad(),
    ):
        attend(query, key, value, position, span=span, ramp=16.0, implementation=implementation)
    allocated = sum(max(0, event.self_cpu_memory_usage) for event in profiler.events())
    every_weight = 4 * case.batch * case.heads * case.block * case.window
    assert 0 < allocated < every_weight


def test_gradients_keep_their_precision_inside_autocast() -> None:
    case = PLAIN._replace(window=40, cached=40, block=24)
    tensors = inputs(case, torch.float32)
    query, key, value, position, span = tensors.values()
    gradients = []
    for enabled in (False, True):
        output = attend(query, key, value, position, span=span, ramp=16.0, implementation="banded")
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            gradients.append(torch.autograd.grad(output.sum(), list(tensors.values())))
    for outside, inside in zip(*gradients, strict=True):
        assert torch.equal(outside, inside)
