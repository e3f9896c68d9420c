"""Heads share a window only where that wastes little."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaspan.nn.attention.groups import Group, group_heads


def groups(*spans: float, limit: int = 8192, cost: float | None = 64) -> tuple[Group, ...]:
    return group_heads(spans, limit, 32, cost)


def test_heads_of_like_span_share_a_window_and_others_do_not() -> None:
    assert groups(2000, 30, 500, 31, 32) == (
        Group((0,), window=2033, unmasked=2000),
        Group((2,), window=533, unmasked=500),
        Group((1, 3, 4), window=65, unmasked=30),
    )


def test_an_implementation_without_windows_of_heads_gets_one_group() -> None:
    (group,) = groups(30, 2000.5, 40, cost=None)
    assert group == Group((0, 1, 2), 2033, 30, windows=(63, 2033, 73))
    assert group.window_of_each() == (63, 2033, 73)
    assert Group((0, 1), 64, 64).window_of_each() == (64, 64)


def test_fixed_spans_reach_the_limit() -> None:
    assert group_heads([64, 64], 64, None, 64) == (Group((0, 1), 64, 64),)


def test_hard_windows_are_shared_only_by_heads_that_have_the_same() -> None:
    assert group_heads([16, 64, 16, 1], 64, None, 64) == (
        Group((1,), 64, 64),
        Group((0, 2), 16, 16),
        Group((3,), 1, 1),
    )


def test_spans_that_differ_by_token_reach_as_far_as_the_longest_of_each_head() -> None:
    assert group_heads([2000, 30, 90], 8192, 32, 64, shortest=[7.5, 12, 3]) == (
        Group((0,), window=2033, unmasked=8),
        Group((1, 2), window=123, unmasked=3),
    )
    assert group_heads([math.nan], 100, 32, 64, shortest=[math.nan]) == (Group((0,), 100, 0),)


def test_a_diverged_span_reaches_the_limit_until_the_loss_says_so() -> None:
    assert groups(math.nan, limit=100) == (Group((0,), 100, 0),)


@given(spans=st.lists(st.floats(0, 8192), min_size=1, max_size=8))
def test_every_head_is_in_one_group_and_loses_nothing(spans: list[float]) -> None:
    found = groups(*spans)
    assert sorted(head for group in found for head in group.heads) == list(range(len(spans)))
    assert [group.window for group in found] == sorted((g.window for g in found), reverse=True)
    for group in found:
        for head in group.heads:
            assert group.window >= min(8192, math.floor(spans[head] + 32) + 1)
            assert group.unmasked <= math.ceil(spans[head])


@pytest.mark.parametrize("long", [1000.0, 8000.0])
def test_a_head_that_grows_takes_no_other_along(long: float) -> None:
    assert groups(20, 21, 22, long) == (
        Group((3,), window=int(long) + 33, unmasked=int(long)),
        Group((0, 1, 2), window=55, unmasked=20),
    )
