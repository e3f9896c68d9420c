"""Optimizers and the learning rate. Nothing here waits for the device."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from adaspan.config.schema import AdagradConfig, AdamConfig, OptimizerConfig, SgdConfig


class ClippedAdagrad(torch.optim.Optimizer):
    """Adagrad that shortens the *step* of each tensor, as the paper's runs did.

        accumulator += grad^2
        parameter   -= lr * min(1, grad_clip / |grad|) * grad / sqrt(accumulator)

    |grad| is the norm of the one tensor, and the accumulator takes the *unclipped* gradient. That
    is another optimizer than clipping first: there, clipped gradients also keep the accumulator
    small, and the two cancel.

    Args:
        parameters: what to optimize.
        lr: learning rate.
        grad_clip: longest gradient of a tensor that takes a full step; 0: no clipping.
    """

    _EPSILON = 1e-10

    # Torch wraps these so that its compiler leaves them alone, and imports that for it: a second of
    # every start. Nothing compiles them here.
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, grad_clip: float) -> None:
        super().__init__(parameters, {"lr": lr, "grad_clip": grad_clip})
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["sum"] = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            gradients = [p.grad for p in parameters]
            sums = [self.state[p]["sum"] for p in parameters]
            torch._foreach_addcmul_(sums, gradients, gradients)
            steps = torch._foreach_sqrt(sums)
            torch._foreach_add_(steps, self._EPSILON)
            steps = torch._foreach_div(gradients, steps)
            torch._foreach_mul_(steps, -group["lr"])
            if group["grad_clip"] > 0:
                norms = torch._foreach_norm(gradients)
                scales = group["grad_clip"] / (torch.stack(norms) + self._EPSILON)
                torch._foreach_mul_(steps, scales.clamp_(max=1).unbind())
            torch._foreach_add_(parameters, steps)


def make_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer that a configuration names. Clip with `clip_gradients` before each step."""
    match config:
        case AdagradConfig():
            return ClippedAdagrad(parameters, config.lr, config.grad_clip)
        case AdamConfig():
            return torch.optim.AdamW(
                parameters,
                config.lr,
                betas=(config.beta1, config.beta2),
                weight_decay=config.weight_decay,
            )
        case SgdConfig():
            return torch.optim.SGD(parameters, config.lr, momentum=config.momentum)
    raise AssertionError(f"no optimizer for {config.kind}")


def clip_gradients(config: OptimizerConfig, parameters: list[nn.Parameter]) -> None:
    """Clip by the global norm, for all but Adagrad, which clips its own steps."""
    if config.grad_clip > 0 and not isinstance(config, AdagradConfig):
        nn.utils.clip_grad_norm_(parameters, config.grad_clip)


def learning_rate(config: OptimizerConfig, update: int, updates: int) -> float:
    """Learning rate of update 1 ... `updates`: linear warm-up, constant, then the cool-down.

    The first update of a warm-up of T steps runs at lr / T, the T-th at lr.
    """
    rate = config.lr * min(1.0, update / config.warmup_steps) if config.warmup_steps else config.lr
    return rate * config.cooldown_factor if update > updates - config.cooldown_steps else rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
