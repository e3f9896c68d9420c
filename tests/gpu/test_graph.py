"""A captured step is its eager twin, to the bit, while spans move and the text begins anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from adaspan.train import graph
from adaspan.train.state import resume_from, state_of
from adaspan.train.trainer import Trainer
from tests.gpu.test_on_a_gpu import trainer_of
from tests.processes import assert_same

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
    pytest.mark.slow,  # compilers are started
]

# Spans that cross several windows; caches fill, and are emptied where the text of 110 blocks ends.
MOVING = ("span.limit=256", "span.initial_fraction=0.12", "train.steps=300", "optimizer.lr=0.03")
FIXED = ("span=fixed", "span.limit=30", "train.steps=300")
CHOICES = {
    "adagrad": MOVING,
    "adam": (*MOVING, "optimizer=adam", "optimizer.lr=0.003", "optimizer.grad_clip=0.5"),
    "sgd": (*MOVING, "optimizer=sgd", "optimizer.lr=0.5", "optimizer.momentum=0.9"),
    "budget": (*MOVING[:1], *MOVING[2:], "span=budget", "span.target=40"),
    "one piece": (*MOVING, "train.micro_batches=1", "train.precision=float32"),
    "all attention": (*MOVING, "model.persistent=5", "model.ffn_dim=0"),
    "fixed": FIXED,
}
# Whose spans never leave their windows.
STANDING = (FIXED, CHOICES["budget"])


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was captured, which is soon."""
    made: list[str] = []

    class Noted(graph.Captured[object]):
        def __init__(self, work: Callable[[], object]) -> None:
            made.append(work.__qualname__)
            super().__init__(work)

    monkeypatch.setattr(graph, "Captured", Noted)
    monkeypatch.setattr(graph, "_STEADY", 3)
    return made


def trainer_with(tiny: tuple[str, ...], *choice: str) -> Trainer:
    dropped = ("span.", "train.steps", "train.device", "optimizer.warm")
    plain = [o for o in tiny if not o.startswith(dropped)]
    kinds = [o for o in choice if o.startswith(("span=", "optimizer="))]
    return trainer_of(*plain, *kinds, *(o for o in choice if o not in kinds))


def learn(trainer: Trainer, until: int) -> None:
    while trainer.step < until:
        trainer.update()


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_a_captured_run_ends_as_one_that_is_not(
    tiny: tuple[str, ...], captures: list[str], choice: tuple[str, ...]
) -> None:
    ends = []
    for captured in ("true", "false"):
        trainer = trainer_with(tiny, *choice, f"train.graph={captured}")
        learn(trainer, 220)
        ends.append(state_of(trainer))
    learned, applied = (sum(part in work for work in captures) for part in ("work", "apply"))
    assert applied == 1
    assert learned == 1 if choice in STANDING else learned > 1, "plans have changed"
    assert_same(*ends)


def test_a_captured_run_goes_on_as_if_undisturbed(
    tiny: tuple[str, ...], captures: list[str]
) -> None:
    whole = trainer_with(tiny, *MOVING)
    learn(whole, 220)
    undisturbed, state = state_of(whole), None
    for moment in (90, 150, 220):
        trainer = trainer_with(tiny, *MOVING)
        if state is not None:
            resume_from(state, trainer)
        learn(trainer, moment)
        state = state_of(trainer)
    assert_same(state, undisturbed)
    assert len(captures) > 6
