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


@pytest.mark.parametrize(("tokens", "sign"), [(40.0, 1), (10.0, -1)])
def test_the_price_grows_as_long_as_spans_are_off_the_target_up_to_a_bound(
    tokens: float, sign: int
) -> None:
    spans = spans_of(tokens)
    budget = SpanBudget(spans, target=20)
    assert budget.loss_coefficient == 0
    prices = []
    for _ in range(200):
        budget.update()
        prices.append(sign * budget.loss_coefficient * LIMIT)
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


def test_a_budget_goes_on_from_its_state() -> None:
    first, second = SpanBudget(spans_of(22), target=20), SpanBudget(spans_of(22), target=20)
    for _ in range(10):
        first.update()
    second.load(first.state())
    assert second.loss_coefficient == first.loss_coefficient
    first.update()
    second.update()
    assert second.state() == first.state()


def test_an_update_reads_nothing_back() -> None:
    with FakeTensorMode(), torch.device("meta"):
        SpanBudget(spans_of(30), target=20).update()


def test_only_adaptive_spans_have_a_budget() -> None:
    with pytest.raises(ContractError, match="budget: only adaptive spans can have one"):
        SpanBudget([DynamicSpan(8, 2, LIMIT)], target=20)
    with pytest.raises(ValueError, match="target=0: must be a finite number above 0"):
        SpanBudget(spans_of(20), target=0)
