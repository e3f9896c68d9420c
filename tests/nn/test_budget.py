"""A budget sets the price of spans: dearer while they are too long, a reward while too short."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from adaspan.nn.budget import SpanBudget
from adaspan.nn.checks import ContractError
from adaspan.nn.span import AdaptiveSpan, DynamicSpan

LIMIT, MOST = 100, 0.3


def spans_of(tokens: float) -> list[AdaptiveSpan]:
    return [AdaptiveSpan(2, LIMIT, 8, 0.0, tokens / LIMIT) for _ in range(3)]


def lead(spans: list[AdaptiveSpan], tokens: float) -> None:
    """As an optimizer would that pays no heed to the price."""
    for span in spans:
        span.fraction.data.fill_(tokens / LIMIT)


def mean_of(spans: list[AdaptiveSpan]) -> float:
    return torch.stack([span.current() for span in spans]).mean().item()


@pytest.mark.parametrize(("tokens", "sign"), [(40.0, 1), (10.0, -1)])
def test_the_price_grows_as_long_as_spans_are_off_the_target_up_to_a_bound(
    tokens: float, sign: int
) -> None:
    spans = spans_of(tokens)
    budget = SpanBudget(spans, target=20, after=0)
    assert budget.loss_coefficient == 0
    prices = []
    for _ in range(200):
        lead(spans, tokens)
        budget.update()
        prices.append(sign * budget.loss_coefficient * LIMIT)
    lead(spans, tokens)
    assert 0 < prices[0] < prices[40] < prices[80] < MOST
    assert prices[-1] == pytest.approx(MOST)
    z = spans[0](torch.zeros(1, 1, 1))
    assert spans[0].penalty(z).item() == pytest.approx(sign * MOST / LIMIT * tokens)


def test_at_the_target_the_price_stays() -> None:
    budget = SpanBudget(spans_of(20), target=20)
    for _ in range(5):
        budget.update()
    assert budget.loss_coefficient == pytest.approx(0, abs=1e-9)


def test_the_mean_is_that_of_all_layers() -> None:
    spans = [*spans_of(10), *spans_of(30)]
    budget = SpanBudget(spans, target=20)
    budget.update()
    assert budget.loss_coefficient == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("tokens", [0.0, 100.0])
def test_the_goal_goes_to_the_target_in_so_many_updates(tokens: float) -> None:
    spans = spans_of(tokens)
    budget = SpanBudget(spans, target=20, after=4)
    assert budget.kept_from == 4
    for update, goal in enumerate([tokens + i / 4 * (20 - tokens) for i in (1, 2, 3, 4, 4)], 1):
        lead(spans, tokens)
        budget.update()
        assert mean_of(spans) == pytest.approx(goal, rel=0.0401), update


def test_within_the_tolerance_spans_are_left_alone() -> None:
    spans = spans_of(20.7)
    budget = SpanBudget(spans, target=20)
    assert budget.kept_from == 0
    before = [span.fraction.clone() for span in spans]
    budget.update()
    assert all(torch.equal(span.fraction, b) for span, b in zip(spans, before, strict=True))


def test_spans_are_moved_by_as_many_tokens_and_those_at_an_end_stay_there() -> None:
    span = AdaptiveSpan(4, LIMIT, 8)
    span.fraction.data.copy_(torch.tensor([0.0, 0.05, 0.5, 0.85]))  # 35 tokens on average
    SpanBudget([span], target=20, after=0).update()
    assert span.fraction.tolist() == pytest.approx([0, 0, 0.241, 0.591], abs=1e-6)  # 20.8
    span.fraction.data.copy_(torch.tensor([0.0, 0.05, 0.5, 1.0]))
    SpanBudget([span], target=75, after=0).update()
    assert span.fraction.tolist() == pytest.approx([0.4433, 0.4933, 0.9433, 1], abs=1e-4)  # 72


@pytest.mark.parametrize("layers", [1, 3])
def test_a_span_that_layers_share_is_moved_once(layers: int) -> None:
    spans = [AdaptiveSpan(2, LIMIT, 8, 0.0, 0.4, shared=True) for _ in range(layers)]
    for span in spans:
        span.fraction = spans[0].fraction
    SpanBudget(spans, target=20, after=0).update()
    assert mean_of(spans) == pytest.approx(20.8)


def test_a_state_of_before_there_was_a_goal_goes_on_at_the_target() -> None:
    spans = spans_of(40)
    budget = SpanBudget(spans, target=20)
    budget.load({"log_price": 1.5, "loss_coefficient": 1e-4})
    assert budget.loss_coefficient == pytest.approx(1e-4)
    budget.update()
    assert mean_of(spans) == pytest.approx(20.8)


def test_a_budget_goes_on_from_its_state() -> None:
    first, second = SpanBudget(spans_of(22), target=20), SpanBudget(spans_of(22), target=20)
    for _ in range(10):
        first.update()
    second.load(first.state())
    assert second.loss_coefficient == first.loss_coefficient
    first.update()
    second.update()
    assert second.state() == first.state()


@pytest.mark.slow
def test_an_update_reads_nothing_back() -> None:
    with FakeTensorMode(), torch.device("meta"):
        spans = [AdaptiveSpan(2, LIMIT, 8, 0.0, 0.3) for _ in range(3)]
        SpanBudget(spans, target=20).update()


def test_only_adaptive_spans_have_a_budget() -> None:
    with pytest.raises(ContractError, match="budget: only adaptive spans can have one"):
        SpanBudget([DynamicSpan(8, 2, LIMIT)], target=20)
    with pytest.raises(ValueError, match="target=0: must be a finite number above 0"):
        SpanBudget(spans_of(20), target=0)
    with pytest.raises(ValueError, match="after=-1"):
        SpanBudget(spans_of(20), target=20, after=-1)
