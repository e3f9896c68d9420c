"""The soft mask against values worked out by hand, and how spans are learned."""

import copy

import pytest
import torch
from torch import Tensor

from adaspan.nn.span import AdaptiveSpan, DynamicSpan, FixedSpan, cache_length, reach, soft_mask


def distances(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float64)


def test_mask_of_ten_tokens_matches_the_formula() -> None:
    # S = 10, R = 2, z = 6: m(x) = clamp((2 + 6 - x) / 2, 0, 1); x = 7 is half-way down the ramp.
    mask = soft_mask(distances(10), torch.tensor(6.0), ramp=2)
    assert mask.tolist() == [1, 1, 1, 1, 1, 1, 1, 0.5, 0, 0]


def test_mask_is_one_up_to_the_span_and_zero_from_span_plus_ramp() -> None:
    mask = soft_mask(distances(12), torch.tensor(3.0), ramp=4)
    assert mask[3] == 1
    assert mask[5] == 0.5
    assert mask[7] == 0
    assert mask[7:].sum() == 0


def test_span_zero_still_sees_the_ramp() -> None:
    assert soft_mask(distances(5), torch.tensor(0.0), ramp=4).tolist() == [1, 0.75, 0.5, 0.25, 0]


def test_mask_of_a_crop_is_the_crop_of_the_mask() -> None:
    span = torch.tensor([[2.5], [7.0]])
    whole = soft_mask(distances(16), span, ramp=3)
    assert torch.equal(soft_mask(distances(6), span, ramp=3), whole[:, :6])


def test_gradient_of_the_mask_passes_on_the_closed_ramp() -> None:
    span = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(soft_mask(distances(10), span, ramp=4).sum(), span)
    # x = 3, 4, 5, 6, 7: both kinks included, 1/R each.
    assert gradient.item() == 5 / 4


def test_gradcheck_through_the_mask() -> None:
    span = torch.tensor([[1.3], [4.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: soft_mask(distances(12), z, 3.0), span)


def test_penalty_is_coefficient_times_limit_times_mean_fraction() -> None:
    span = AdaptiveSpan(heads=4, limit=100, ramp=8, loss_coefficient=0.01)
    with torch.no_grad():
        span.fraction.copy_(torch.tensor([0.0, 0.1, 0.2, 0.5]))
    hidden = torch.zeros(1, 1, 1)
    penalty = span.penalty(span(hidden))
    assert penalty.item() == pytest.approx(0.01 * 100 * 0.2)
    penalty.backward()
    assert span.fraction.grad is not None
    assert span.fraction.grad.tolist() == pytest.approx([0.01 * 100 / 4] * 4)


def test_clamp_puts_fractions_back_between_zero_and_one() -> None:
    span = AdaptiveSpan(heads=3, limit=10, ramp=1, loss_coefficient=0)
    with torch.no_grad():
        span.fraction.copy_(torch.tensor([-0.2, 0.4, 1.3]))
    span.clamp_()
    assert span.current().tolist() == pytest.approx([0, 4, 10])


@pytest.mark.parametrize(
    ("span", "ramp", "columns"),
    [(0.0, 4.0, 5), (2.5, 4.0, 7), (2.5, 4.5, 8), (3.0, 4.0, 8), (20.0, 4.0, 20)],
)
def test_reach_counts_every_key_on_the_closed_ramp(span: float, ramp: float, columns: int) -> None:
    assert reach(span, limit=20, ramp=ramp) == columns
    beyond = soft_mask(distances(200)[columns:], torch.tensor(span), ramp)
    assert columns == 20 or beyond.max() == 0


@pytest.mark.parametrize("span", [-1.0, 21.0])
def test_reach_refuses_a_span_that_was_never_clamped(span: float) -> None:
    with pytest.raises(ValueError, match=rf"span={span:g}: must be 0 to 20; clamp_spans_"):
        reach(span, limit=20, ramp=4.0)
    assert reach(20.0005, limit=20, ramp=4.0) == 20, "rounding"


def test_cache_is_longer_than_the_reach_but_not_than_the_limit() -> None:
    assert cache_length(33, limit=1024) > 33
    assert cache_length(1000, limit=1024) == 1024


def test_the_mask_is_float32_where_a_span_is_not() -> None:
    """In bfloat16, 301 is 300 or 302."""
    mask = soft_mask(torch.tensor([300, 301, 302]), torch.tensor(300).bfloat16(), 2.0)
    assert mask.tolist() == [1, 0.5, 0]
    assert mask.dtype == torch.float32
    with pytest.raises(ValueError, match=r"span=3\.0: must be a tensor"):
        soft_mask(torch.arange(3), 3.0, 2.0)  # type: ignore[arg-type]


def test_spans_stay_float32_in_bfloat16() -> None:
    hidden = torch.randn(2, 3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        dynamic = DynamicSpan(8, 4, limit=8192, ramp=32, loss_coefficient=0)(hidden)
        adaptive = AdaptiveSpan(4, limit=8192, ramp=32, loss_coefficient=0)(hidden)
    assert dynamic.dtype == adaptive.dtype == torch.float32


def test_dynamic_spans_follow_the_formula() -> None:
    span = DynamicSpan(dim=6, heads=2, limit=50, ramp=4, loss_coefficient=0.1)
    hidden = torch.randn(3, 5, 6)
    z = span(hidden)
    assert z.shape == (3, 2, 5)
    by_hand = 50 * torch.sigmoid(hidden[1, 2] @ span.gate.weight[1] + span.gate.bias[1])
    assert z[1, 1, 2].item() == pytest.approx(by_hand.item())
    assert span.penalty(z).item() == pytest.approx(0.1 * z.mean().item())
    assert torch.all(span.gate.bias == -4)


def test_a_shared_span_is_one_number_for_all_heads() -> None:
    span = AdaptiveSpan(3, limit=100, ramp=8, initial_fraction=0.2, shared=True)
    assert span.fraction.shape == (1,)
    assert span.current().tolist() == pytest.approx([20, 20, 20])
    span(torch.zeros(1, 1, 1)).sum().backward()
    assert span.fraction.grad is not None
    assert span.fraction.grad.tolist() == [300]


@pytest.mark.parametrize(
    "span",
    [
        AdaptiveSpan(2, 50, loss_coefficient=0.1, initial_fraction=0.5, penalty_after=2),
        DynamicSpan(4, 2, 50, loss_coefficient=0.1, penalty_after=2),
    ],
    ids=["adaptive", "dynamic"],
)
def test_a_penalty_begins_after_some_updates_also_where_a_run_goes_on(
    span: AdaptiveSpan | DynamicSpan,
) -> None:
    penalties = []
    for count in range(1, 5):
        z = span(torch.randn(1, 3, 4))
        penalties.append(span.penalty(z).item() / z.mean().item())
        state = copy.deepcopy(span.state_dict())
        span.updates.fill_(-5)  # what is not in the state would be lost
        span.load_state_dict(state)
        span.clamp_()
        span.note_updates(count)
        span.note_updates(count)  # as often as one likes
    assert penalties == pytest.approx([0, 0, 0.1, 0.1])


def test_fixed_windows_are_one_per_head() -> None:
    assert FixedSpan(3, 30, [5, 30, 1]).current().tolist() == [5, 30, 1]
    for windows, message in (
        ([5, 6], "must be 3, one per head"),
        ([5, 6, 31], "window=31: must be at most limit=30"),
        ([5, 6, 0], "window=0: must be a whole number, at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            FixedSpan(3, 30, windows)


def test_fixed_spans_cost_nothing_and_stay_at_the_limit() -> None:
    span = FixedSpan(heads=2, limit=30)
    assert span(torch.zeros(1, 1, 1)) is None
    assert span.penalty(None) == 0
    assert span.current().tolist() == [30, 30]
