"""What a checkpoint holds: a run that goes on from it ends as one that was never stopped."""

from __future__ import annotations

import math

import pytest
import torch

from adaspan.errors import RunError
from adaspan.train.state import resume_from, state_of
from tests.train.test_trainer import BUDGET, losses, trainer_of


@pytest.mark.slow
def test_going_on_from_a_state_is_bit_equal(tiny: tuple[str, ...]) -> None:
    whole = trainer_of(*tiny)
    curve = losses(whole, 40)
    half = trainer_of(*tiny)
    losses(half, 20)
    half.update()  # one loss that is not yet taken travels with the state
    state = state_of(half)
    assert state is not None
    resumed = trainer_of(*tiny)
    resume_from(state, resumed)
    assert torch.equal(losses(resumed, 19), curve[20:])
    assert resumed.flops.total == whole.flops.total
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.slow
def test_a_budget_goes_on_where_it_was(tiny: tuple[str, ...]) -> None:
    own = [o for o in tiny if o.startswith("data")] + [*BUDGET]
    whole, half, resumed = (trainer_of(*own) for _ in range(3))
    curve = losses(whole, 24)
    losses(half, 12)
    state = state_of(half)
    assert state is not None
    resume_from(state, resumed)
    assert torch.equal(losses(resumed, 12), curve[12:])
    assert torch.equal(resumed.spans_LH, whole.spans_LH)
    assert resumed.budget is not None
    assert whole.budget is not None
    assert resumed.budget.state() == whole.budget.state() != state["budget"]


def test_weights_that_are_not_finite_are_not_saved(tiny: tuple[str, ...]) -> None:
    trainer = trainer_of(*tiny)
    trainer.update()
    with torch.no_grad():
        next(iter(trainer.model.parameters()))[0, 0] = math.inf
    with pytest.raises(RunError, match="step 1: a weight is no longer finite"):
        state_of(trainer)
