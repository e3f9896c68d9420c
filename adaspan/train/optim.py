"""Clipping and the learning rate. Nothing here waits for the device."""

from __future__ import annotations

import torch
from torch import nn

from adaspan.config.kinds.optimizer import OptimizerConfig


def clip_gradients(settings: OptimizerConfig, parameters: list[nn.Parameter]) -> None:
    """Clip by the global norm, unless the optimizer clips its own steps, as Adagrad's does."""
    if settings.grad_clip > 0 and not settings.clips_steps:
        nn.utils.clip_grad_norm_(parameters, settings.grad_clip)


def learning_rate(settings: OptimizerConfig, update: int, updates: int) -> float:
    """Learning rate of update 1 ... `updates`: linear warm-up, constant, then the cool-down.

    The first update of a warm-up of T steps runs at lr / T, the T-th at lr.
    """
    rate = (
        settings.lr * min(1.0, update / settings.warmup_steps)
        if settings.warmup_steps
        else settings.lr
    )
    return rate * settings.cooldown_factor if update > updates - settings.cooldown_steps else rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
