"""Parameters in one piece of memory learn the same as apart, to the bit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adaspan.config.kinds.optimizer import AdagradConfig, AdamConfig, OptimizerConfig, SgdConfig
from adaspan.config.kinds.span import AdaptiveSpanConfig
from adaspan.config.schema import ModelConfig, RunConfig, TrainConfig
from adaspan.train.build import make_model, make_optimizer
from adaspan.train.distributed import Processes
from adaspan.train.flat import ROW, FlatParameters
from adaspan.train.optim import flattened, optimizer_state
from adaspan.train.statistics import UpdateStatistics
from adaspan.train.step import Step

SHAPE = ModelConfig(layers=2, dim=24, heads=2, ffn_dim=40, dropout=0.1, persistent=3)
SPAN = AdaptiveSpanConfig(limit=40, ramp=8, loss_coefficient=0.01)
OPTIMIZERS = [
    AdagradConfig(lr=0.05, grad_clip=0.03),
    AdagradConfig(lr=0.05),
    AdamConfig(lr=0.01, grad_clip=0.5),
    SgdConfig(lr=0.1, momentum=0.9),
]


class Learner:
    """A model that learns, its parameters in one piece of memory or not."""

    def __init__(
        self,
        settings: OptimizerConfig,
        pieces: int,
        *,
        flat: bool,
        precision: torch.dtype = torch.float32,
        shape: ModelConfig = SHAPE,
    ) -> None:
        torch.manual_seed(3)
        self.model = make_model(shape, SPAN, 30)
        self.optimizer = make_optimizer(settings, self.model)
        self.flat = FlatParameters(self.model, precision) if flat else None
        if self.flat:
            self.optimizer = flattened(self.optimizer, self.flat)
        train = TrainConfig(
            steps=9, batch_size=4, block_size=8, micro_batches=pieces,
            eval_every=9, checkpoint_every=9, log_every=9,
        )  # fmt: skip
        self.step = Step(
            RunConfig(model=shape, span=SPAN, optimizer=settings, train=train),
            self.model,
            self.optimizer,
            UpdateStatistics(settings, self.model, Processes()),
            None,
            precision,
            self.flat,
        )

    def learn(self, updates: int) -> list[Tensor]:
        """Losses, penalties, and norms of gradients."""
        torch.manual_seed(4)
        tokens = torch.randint(30, (updates, 4, 9))
        caches, seen = self.model.empty_caches(4), []
        for tokens_BM in tokens:
            plan = self.model.plan(4, 8)
            learned = self.step.learn(tokens_BM[:, :-1], tokens_BM[:, 1:], caches, plan)
            caches = learned.caches
            seen += [learned.loss, learned.penalty, self.step.apply().norms_Q]
        return seen


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("settings", OPTIMIZERS, ids=lambda s: f"{s.kind}-{s.grad_clip}")
def test_they_learn_the_same(settings: OptimizerConfig, pieces: int) -> None:
    ends = []
    for flat in (False, True):
        learner = Learner(settings, pieces, flat=flat)
        seen = learner.learn(5)
        ends.append((seen, learner.model.state_dict(), optimizer_state(learner.optimizer)))
    for own, other in zip(_tensors(ends[0]), _tensors(ends[1]), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("settings", OPTIMIZERS[::2], ids=lambda s: s.kind)
def test_gradients_that_others_have_computed_and_dropped_change_nothing(
    settings: OptimizerConfig,
) -> None:
    alone, watched = (Learner(settings, 2, flat=True) for _ in range(2))
    expected = alone.learn(1) + alone.learn(1)
    seen = watched.learn(1)
    torch.autograd.backward([p.square().sum() for p in watched.model.parameters()])
    watched.model.zero_grad()
    seen += watched.learn(1)
    assert all(torch.equal(*pair) for pair in zip(seen, expected, strict=True))
    values = zip(alone.model.parameters(), watched.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in values)


def test_an_optimizer_goes_on_from_its_state_in_the_same_memory() -> None:
    whole, again = (Learner(OPTIMIZERS[0], 1, flat=True) for _ in range(2))
    whole.learn(3)
    again.model.load_state_dict(whole.model.state_dict())
    again.optimizer.load_state_dict(copy.deepcopy(optimizer_state(whole.optimizer)))
    assert again.flat is not None
    again.flat.refresh()
    assert all(torch.equal(*pair) for pair in zip(whole.learn(2), again.learn(2), strict=True))
    assert torch.equal(again.flat.values_RN, torch.cat([_row(p) for p in again.model.parameters()]))


def test_linear_layers_compute_with_narrow_copies_of_what_was_learned() -> None:
    """They round where autocast does, but where gradients of one weight are added up."""
    plain, flat = (
        Learner(SgdConfig(lr=0.1), 1, flat=flat, precision=torch.bfloat16) for flat in (False, True)
    )
    assert flat.flat is not None
    leaves, parameters = flat.flat.leaves, list(flat.model.parameters())
    linear = 4 + 2 * 2  # of a layer: without and with a bias
    narrow = [leaf for leaf in leaves if leaf.dtype == torch.bfloat16]
    assert len(narrow) == SHAPE.layers * linear + 2
    assert torch.equal(plain.learn(1)[0], flat.learn(1)[0])
    losses, other_losses = plain.learn(4)[::3], flat.learn(4)[::3]
    torch.testing.assert_close(other_losses, losses, rtol=1e-3, atol=0)
    assert all(torch.equal(*pair) for pair in zip(leaves, _as(leaves, parameters), strict=True))
    assert {parameter.dtype for parameter in flat.model.parameters()} == {torch.float32}


def _as(likes: list[nn.Parameter], tensors: list[nn.Parameter]) -> list[Tensor]:
    return [tensor.to(like.dtype) for tensor, like in zip(tensors, likes, strict=True)]


def _row(tensor: Tensor) -> Tensor:
    missing = -tensor.numel() % ROW
    return torch.nn.functional.pad(tensor.detach().flatten(), (0, missing)).view(-1, ROW)


def _tensors(value: Any) -> list[Tensor]:
    match value:
        case Tensor():
            return [value]
        case dict():
            return [tensor for key in value for tensor in _tensors(value[key])]
        case list() | tuple():
            return [tensor for part in value for tensor in _tensors(part)]
    return []
