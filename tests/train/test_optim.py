"""Optimizers against their formulas, and the learning rate at every corner of its course."""

import pytest
import torch
from torch import nn

from adaspan.config.kinds.optimizer import AdagradConfig, AdamConfig, OptimizerConfig, SgdConfig
from adaspan.nn.adagrad import ClippedAdagrad
from adaspan.train.optim import clip_gradients, learning_rate


def test_clipped_adagrad_shortens_the_step_and_accumulates_the_unclipped_gradient() -> None:
    parameters = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2))]
    optimizer = ClippedAdagrad(parameters, lr=0.5, grad_clip=1.0)
    gradients = [torch.tensor([3.0, 0.0, 4.0]), torch.tensor([0.3, 0.4])]  # norms 5 and 0.5
    by_hand = [torch.zeros(3), torch.zeros(2)]
    sums = [torch.zeros(3), torch.zeros(2)]
    for _ in range(3):
        for i, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            parameter.grad = gradient.clone()
            sums[i] += gradient**2
            scale = min(1.0, 1.0 / gradient.norm().item())
            by_hand[i] -= 0.5 * scale * gradient / (sums[i].sqrt() + 1e-10)
        optimizer.step()
    for parameter, expected in zip(parameters, by_hand, strict=True):
        torch.testing.assert_close(parameter.detach(), expected)


def test_clipped_adagrad_differs_from_clipping_first() -> None:
    # Clip first, and the first step of every tensor is lr long, whatever its gradient.
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.tensor([100.0])
    ClippedAdagrad([parameter], lr=0.1, grad_clip=1.0).step()
    assert parameter.item() == pytest.approx(-0.1 / 100)


def test_without_clipping_it_is_torchs_adagrad() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    optimizers = (
        ClippedAdagrad(ours.parameters(), lr=0.1, grad_clip=0),
        torch.optim.Adagrad(theirs.parameters(), lr=0.1, eps=1e-10),
    )
    for _ in range(5):
        batch = torch.randn(8, 4)
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_its_state_survives_saving() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = ClippedAdagrad([parameter], lr=0.1, grad_clip=1)
    parameter.grad = torch.tensor([1.0, 2.0])
    optimizer.step()
    again = ClippedAdagrad([parameter], lr=0.1, grad_clip=1)
    again.load_state_dict(optimizer.state_dict())
    assert torch.equal(again.state[parameter]["sum"], torch.tensor([1.0, 4.0]))


@pytest.mark.parametrize("config", [AdamConfig(lr=0.1, grad_clip=1), SgdConfig(lr=1, grad_clip=1)])
def test_adam_and_sgd_clip_the_global_norm(config: OptimizerConfig) -> None:
    parameters = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    for parameter, gradient in zip(parameters, (3.0, 4.0), strict=True):
        parameter.grad = torch.tensor([gradient])
    clip_gradients(config, parameters)
    clipped = [p.grad.item() for p in parameters if p.grad is not None]
    assert clipped == pytest.approx([0.6, 0.8], rel=1e-4)


def test_adagrad_is_not_clipped_beforehand() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.tensor([5.0])
    clip_gradients(AdagradConfig(lr=0.1, grad_clip=1), [parameter])
    assert parameter.grad.item() == 5


@pytest.mark.parametrize("config", [AdagradConfig(lr=1), AdamConfig(lr=1), SgdConfig(lr=1)])
def test_every_kind_makes_an_optimizer_that_steps_downhill(config: OptimizerConfig) -> None:
    parameter = nn.Parameter(torch.tensor([1.0]))
    parameter.grad = torch.tensor([1.0])
    config.build([parameter]).step()
    assert parameter.item() < 1


@pytest.mark.parametrize(
    ("update", "rate"),
    [(1, 0.1), (2, 0.2), (10, 1.0), (11, 1.0), (80, 1.0), (81, 0.1), (100, 0.1)],
)
def test_learning_rate_warms_up_from_its_first_part_and_cools_down(
    update: int, rate: float
) -> None:
    config = AdagradConfig(lr=1.0, warmup_steps=10, cooldown_steps=20, cooldown_factor=0.1)
    assert learning_rate(config, update, updates=100) == pytest.approx(rate)


def test_without_warm_up_the_first_update_has_the_full_rate() -> None:
    assert learning_rate(AdagradConfig(lr=0.3), 1, 10) == 0.3
