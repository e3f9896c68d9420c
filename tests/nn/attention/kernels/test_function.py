"""Every kernel in Triton's interpreter against the oracle: output and gradient of each input."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from adaspan.nn.attention import attend
from adaspan.nn.attention.reference import attend_reference
from adaspan.nn.self_attention import AdaptiveSelfAttention
from adaspan.nn.span import AdaptiveSpan, DynamicSpan
from adaspan.nn.transformer import Transformer

# Outside the band numbers are whatever memory holds, and are left out afterwards.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="tests/gpu runs the kernels as compiled"),
]


@pytest.fixture(autouse=True)
def memory_holds_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written to it."""
    new_empty = Tensor.new_empty

    def of_nan(like: Tensor, *args: object, **kwargs: object) -> Tensor:
        fresh: Tensor = new_empty(like, *args, **kwargs)  # type: ignore[call-overload]
        return fresh.fill_(torch.nan) if fresh.is_floating_point() else fresh.fill_(2**30)

    monkeypatch.setattr(Tensor, "new_empty", of_nan)
    monkeypatch.setattr(torch, "empty_like", lambda like: like.new_empty(like.shape))


class Case(NamedTuple):
    """One call: two tiles of queries, the second of them not full."""

    spans: tuple[float, ...] | None  # of each head; None: hard windows
    window: int = 100
    cached: int = 50
    head_dim: int = 16
    block: int = 70
    dynamic: bool = False
    dropout: float = 0.0
    positioned: bool = True
    louder: float = 1.0  # queries are multiplied by it

    def inputs(self) -> dict[str, Tensor]:
        torch.manual_seed(3)
        heads, batch = len(self.spans or (0, 0)), 2
        keys = batch, heads, self.cached + self.block, self.head_dim
        tensors = {
            "query": torch.randn(batch, heads, self.block, self.head_dim) * self.louder,
            "key": torch.randn(keys),
            "value": torch.randn(keys),
        }
        if self.positioned:
            tensors["position"] = torch.randn(self.window, self.head_dim)
        if self.spans is not None:
            z_H1 = torch.tensor(self.spans).unsqueeze(1)
            shape = batch, heads, self.block
            tensors["span"] = torch.rand(shape) * z_H1 if self.dynamic else z_H1
        return tensors


RAMP = 8.0
CASES = {
    "adaptive": Case(spans=(3.3, 60.7)),
    "dropout": Case(spans=(3.3, 60.7), dropout=0.4),
    "dynamic": Case(spans=(30.0, 91.0), dynamic=True, dropout=0.3),
    "fixed": Case(spans=None, window=50, cached=40, head_dim=24),
    "a stream's start": Case(spans=(0.0, 92.0), cached=0),
    "little history": Case(spans=(10.0, 92.0, 3.0), cached=9, block=33),
    "no positions": Case(spans=(3.0, 40.0), positioned=False, dropout=0.5, block=33),
    "one key": Case(spans=None, window=1, block=5, cached=3),
    "a wide head": Case(spans=(5.0, 20.0), head_dim=80, window=28, cached=20, block=33),
    "large scores": Case(spans=(0.0, 33.3), louder=60.0, block=40, cached=20, window=42),
}


def kept_of(seed: int, batch: int, heads: int, block: int, window: int, dropout: float) -> Tensor:
    """What the kernels' hash keeps, the farthest key first: 32-bit arithmetic in 64 bits."""
    mask = 2**32 - 1

    def scrambled(bits: Tensor) -> Tensor:
        for shift, factor in ((16, 0x21F0AAAD), (15, 0xD35A2D97)):
            bits = (bits ^ (bits >> shift)) * factor & mask
        return bits ^ (bits >> 15)

    sequence = torch.arange(batch * heads).view(batch, heads, 1, 1)
    m = torch.arange(block).view(block, 1)
    x = torch.arange(window - 1, -1, -1)
    row = scrambled(scrambled(seed + sequence * 0x9E3779B9 & mask) + m * 0x85EBCA6B & mask)
    return scrambled(row ^ (x * 0x9E3779B9 & mask)) >= round(dropout * 2**32)


def by_oracle(case: Case, tensors: dict[str, Tensor], seed: int) -> tuple[Tensor, Tensor]:
    kept = None
    if case.dropout:
        batch, heads, block, _ = tensors["query"].shape
        kept = kept_of(seed, batch, heads, block, case.window, case.dropout)
    return attend_reference(
        query_BHMK=tensors["query"],
        key_BHCK=tensors["key"],
        value_BHCK=tensors["value"],
        position_SK=tensors.get("position"),
        window=case.window,
        span=tensors.get("span"),
        ramp=RAMP,
        unmasked=0,
        kept_BHMS=kept,
        dropout=case.dropout,
    )


def by_kernels(case: Case, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    from adaspan.nn.attention.kernels import attend_kernels

    return attend_kernels(
        query_BHMK=tensors["query"],
        key_BHCK=tensors["key"],
        value_BHCK=tensors["value"],
        position_SK=tensors.get("position"),
        window=case.window,
        span=tensors.get("span"),
        ramp=RAMP,
        unmasked=0,
        kept_BHMS=None,
        dropout=case.dropout,
    )


def errors(case: Case, dtype: torch.dtype = torch.float32) -> dict[str, float]:
    """How far off the kernels are, relative to the oracle in float64 on the same numbers."""
    narrow = {"query", "key", "value"}
    ours = {
        name: (tensor.to(dtype) if name in narrow else tensor).requires_grad_()
        for name, tensor in case.inputs().items()
    }
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in ours.items()}
    torch.manual_seed(8)
    seed = int(torch.randint(2**31, (1,), dtype=torch.int32))
    torch.manual_seed(8)
    found, expected = by_kernels(case, ours), by_oracle(case, exact, seed)
    has_keys = expected[1] > -1e20
    torch.manual_seed(9)
    toward, toward_log = torch.randn_like(expected[0]), torch.randn_like(expected[1]) * has_keys
    for output, log_sum in (found, expected):
        log_sum = torch.where(has_keys, log_sum, 0)
        ((output.double() * toward).sum() + (log_sum.double() * toward_log).sum()).backward()
    assert (found[1] < -1e20).equal(~has_keys)

    def far(a: Tensor, b: Tensor) -> float:
        return float((a.double() - b).norm() / b.norm())

    off = {name: far(ours[name].grad, exact[name].grad) for name in ours}  # type: ignore[arg-type]
    off["output"] = far(found[0].detach(), expected[0].detach())
    return off


def check(case: Case, off: dict[str, float]) -> None:
    """Refuse more than the rounding of float32."""
    if case.louder > 1:
        # A key at the very end of its ramp has no weight yet, and would outweigh all others.
        assert math.isfinite(off.pop("span"))
    assert all(far < (1e-5 if case.louder > 1 else 3e-6) for far in off.values()), off


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_output_and_every_gradient_are_the_oracles(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where scores differ by more than 69, a mask of 1e-30 would let keys in that have none.
    monkeypatch.setattr("adaspan.nn.attention.reference.TINY", 1e-300)
    case = CASES[name]
    check(case, errors(case))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 2e-3), (torch.bfloat16, 1.5e-2)])
def test_narrow_numbers_are_off_by_their_own_rounding_only(
    dtype: torch.dtype, bound: float
) -> None:
    off = errors(CASES["adaptive"]._replace(dropout=0.3), dtype)
    assert all(far < bound for far in off.values()), off


@pytest.mark.slow
def test_layers_agree_with_the_banded_attention_over_two_blocks() -> None:
    """With persistent memory, whose share comes by the log-sum, and spans for each token."""
    found = []
    for implementation in ("banded", "triton"):
        torch.manual_seed(0)
        span = DynamicSpan(dim=32, heads=2, limit=64, ramp=RAMP, initial_bias=-1.0)
        layer = AdaptiveSelfAttention(
            32, 2, 64, span=span, persistent=3, implementation=implementation
        )
        hidden = torch.randn(2, 40, 32, requires_grad=True)
        _, cache = layer(hidden)
        output, _ = layer(hidden, cache)
        (output.square().mean() + layer.penalty()).backward()
        found.append([output.detach(), hidden.grad, *(p.grad for p in layer.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@torch.no_grad()
def test_cached_keys_and_values_give_what_cached_hidden_states_give() -> None:
    """In blocks of several lengths; a single token goes another way."""
    torch.manual_seed(0)
    model = Transformer(
        vocabulary_size=11,
        layers=1,
        dim=16,
        heads=2,
        ffn_dim=16,
        make_span=lambda _: AdaptiveSpan(2, 30, RAMP, initial_fraction=0.4),
        attention="triton",
    ).eval()
    tokens = torch.randint(11, (1, 34))
    kept, caches, plan = model.key_value_caches(), None, model.plan(1, 1)
    for block in tokens.split([10, 20, 1, 3], dim=1):
        by_states = model(block, caches, plan)
        caches = by_states.caches
        by_keys = model(block, kept).log_probs_BMV
        torch.testing.assert_close(by_keys, by_states.log_probs_BMV, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_same_random_state_gives_the_same_numbers() -> None:
    case = Case(spans=(3.3, 20.0), window=29, cached=12, block=20, dropout=0.4)
    runs = []
    for seed in (4, 4, 5):
        tensors = {name: t.requires_grad_() for name, t in case.inputs().items()}
        torch.manual_seed(seed)
        output, _ = by_kernels(case, tensors)
        output.square().sum().backward()
        runs.append([output.detach(), *(t.grad for t in tensors.values())])
    assert all(torch.equal(a, b) for a, b in zip(runs[0], runs[1], strict=True))  # type: ignore[arg-type]
    assert not torch.equal(runs[0][0], runs[2][0])  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_head_sees_no_farther_than_there_is_room_for() -> None:
    """As where a plan was made before its span grew: memory of other heads stays untouched."""
    from adaspan.nn.attention.kernels import attend_by_head

    case = Case(spans=(90.0, 90.0), window=98, cached=98, block=10)
    tensors = case.inputs()
    query, key, value, position, span = tensors.values()
    output_BHMK, _ = attend_by_head(
        past_2BHLK=torch.stack([key[:, :, :98], value[:, :, :98]]),
        query_BHMK=query,
        key_BHMK=key[:, :, 98:],
        value_BHMK=value[:, :, 98:],
        position_SK=position,
        windows=(98, 40),
        span=span,
        ramp=RAMP,
        dropout=0.0,
    )
    torch.testing.assert_close(output_BHMK[:, 0], by_oracle(case, tensors, 0)[0][:, 0])
    cut = case._replace(window=64)
    expected, _ = by_oracle(cut, {**tensors, "position": position[:64]}, 0)
    torch.testing.assert_close(output_BHMK[:, 1], expected[:, 1])


def test_rooms_of_heads_are_made_on_the_host_whatever_device_is_the_default() -> None:
    from adaspan.nn.attention.kernels.function import _rooms

    with torch.device("meta"):
        rooms_2H = _rooms((2, 1, 4), torch.device("cpu"))
    assert rooms_2H.tolist() == [[2, 1, 4], [0, 2, 3]]


def test_a_diverged_span_is_let_through() -> None:
    case = Case(spans=(float("nan"), 5.0), window=20, block=8, cached=4)
    output, _ = by_kernels(case, case.inputs())
    assert output[:, 1].isfinite().all()


def test_float64_is_refused_by_name() -> None:
    query = torch.randn(1, 1, 4, 16).double()
    with pytest.raises(ValueError, match="attention=triton: queries must not be"):
        attend(query, query, query, implementation="triton")
