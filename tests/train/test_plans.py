"""Windows of a GPU stand for many updates, fit every head, and follow the spans in the end."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import pairwise

import torch

from adaspan.config.kinds.span import AdaptiveSpanConfig
from adaspan.config.schema import ModelConfig
from adaspan.nn.attention.groups import group_heads
from adaspan.nn.span import AdaptiveSpan, reach
from adaspan.nn.transformer import Plan
from adaspan.train.build import make_model
from adaspan.train.plans import Lengths, StandingPlan, rounded_windows

LIMIT, RAMP = 4096, 32.0
GROUP_COST = 200.0


def standing(limit: int = LIMIT, ramp: float | None = RAMP) -> StandingPlan:
    def make(longest: Lengths, shortest: Lengths) -> Plan:
        return [
            group_heads(most, limit, ramp, GROUP_COST, least)
            for most, least in zip(longest, shortest, strict=True)
        ]

    return StandingPlan(limit, ramp, make)


def growing(updates: int) -> Iterator[list[list[float]]]:
    """Spans of two layers of three heads, from 0 to what they learn, with some noise."""
    chance = random.Random(1)
    ends = [[0.0, 3.0, 12.0], [60.0, 800.0, 3000.0]]
    for update in range(updates):
        part = 1 - math.exp(-5 * update / updates)
        yield [[max(0, end * part + chance.uniform(-2, 2)) for end in layer] for layer in ends]


def test_windows_are_rounded_up_to_a_few_lengths() -> None:
    windows = rounded_windows(LIMIT)
    assert windows[6:12] == [448, 512, 576, 704, 832, 960]
    assert windows[-2] < LIMIT <= windows[-1]
    longer = [(one, other - one) for one, other in pairwise(windows)]
    assert all(more % 64 == 0 and more < max(65, 0.125 * one + 64) for one, more in longer)


def test_every_head_fits_at_every_update() -> None:
    plan = standing()
    for lengths in growing(2000):
        for groups, spans in zip(plan.next(torch.tensor(lengths)), lengths, strict=True):
            assert sorted(head for group in groups or () for head in group.heads) == [0, 1, 2]
            for group in groups or ():
                for head in group.heads:
                    assert group.window >= reach(spans[head], LIMIT, RAMP)
                    assert group.unmasked <= spans[head]


def test_a_plan_stands_for_many_updates_while_spans_grow() -> None:
    plan = standing()
    plans = [plan.next(torch.tensor(lengths)) for lengths in growing(2000)]
    changes = sum(one is not other for one, other in pairwise(plans))
    assert 10 < changes < 60


def test_a_span_that_moves_about_a_rounded_window_keeps_its_plan() -> None:
    plan = standing()
    for update in range(50):
        plan.next(torch.tensor([[96.0 + (update % 2) * 2 - RAMP, 500, 2000]]))
    assert plan.next(torch.tensor([[95.0 - RAMP, 500, 2000]])) is plan.next(
        torch.tensor([[97.0 - RAMP, 500, 2000]])
    )


def test_spans_that_have_become_short_have_short_windows() -> None:
    plan = standing()
    plan.next(torch.tensor([[10.0, 10.0, 3000.0]]))
    (groups,) = plan.next(torch.tensor([[10.0, 10.0, 20.0]]))
    assert max(group.window for group in groups or ()) == 64


def test_the_next_plan_depends_on_the_last_and_the_spans_alone() -> None:
    whole, stopped, resumed = standing(), standing(), standing()
    *first, last = growing(300)
    for lengths in first[:170]:
        stopped.next(torch.tensor(lengths))
    resumed.load(stopped.state())
    for lengths in first:
        whole.next(torch.tensor(lengths))
    for lengths in first[170:]:
        resumed.next(torch.tensor(lengths))
    assert resumed.next(torch.tensor(last)) == whole.next(torch.tensor(last))
    assert resumed.state() == whole.state()


def test_a_plan_from_a_checkpoint_of_before_there_were_any_is_made_anew() -> None:
    plan = standing()
    plan.load([])
    assert plan.state() == []
    assert plan.next(torch.tensor([[10.0]])) == standing().next(torch.tensor([[10.0]]))


def test_hard_windows_stay_as_they_are() -> None:
    plan = standing(limit=100, ramp=None)
    (groups,) = plan.next(torch.tensor([[7, 100, 7]]))
    assert [group.window for group in groups or ()] == [100, 7]
    assert plan.next(torch.tensor([[7, 100, 7]]))[0] is groups


def test_windows_end_at_the_limit() -> None:
    (groups,) = standing(limit=100).next(torch.tensor([[99.5, 0.0]]))
    assert max(group.window for group in groups or ()) == 100


def test_a_run_that_has_diverged_gets_as_far_as_its_loss_which_says_so() -> None:
    plan = standing(limit=100)
    plan.next(torch.tensor([[5.0, 5.0]]))
    (groups,) = plan.next(torch.tensor([[math.nan, 5.0]]))
    assert max(group.window for group in groups or ()) == 100


def test_rounded_windows_compute_the_same() -> None:
    model = make_model(
        ModelConfig(layers=2, dim=16, heads=2, ffn_dim=16),
        AdaptiveSpanConfig(limit=300, ramp=7.5, loss_coefficient=0.0),
        20,
    ).double()
    for span, spans in zip(model.spans, ([0.0, 44.0], [3.3, 41.7]), strict=True):
        assert isinstance(span, AdaptiveSpan)
        span.fraction.data.copy_(torch.tensor(spans) / 300)
    spans_LH = model.current_spans()
    assert spans_LH is not None
    plan = StandingPlan(
        300, 7.5, lambda longest, shortest: model.plan_for(longest, shortest, 2, 40)
    ).next(spans_LH)
    exact = model.plan(2, 40)
    assert max(model.reaches(plan)) == 64 > max(model.reaches(exact))
    tokens = torch.randint(20, (2, 2, 40))
    found = []
    for own in (plan, exact):
        model.zero_grad()
        caches = None
        for tokens_BM in tokens:
            output = model(tokens_BM, caches, own, tokens_BM)
            caches = output.caches
        torch.autograd.backward(output.nats_BM.mean())
        found.append([output.nats_BM.detach(), *(p.grad for p in model.parameters())])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-11)
