"""Clipping and the learning rate. Nothing here waits for the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from adaspan.config.kinds.optimizer import OptimizerConfig
from adaspan.nn.adagrad import ClippedAdagrad, FlatAdagrad
from adaspan.train.flat import FlatParameters


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
    """Of the next step. Does not wait for the device."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def flattened(optimizer: torch.optim.Optimizer, flat: FlatParameters) -> torch.optim.Optimizer:
    """An optimizer, freshly made, that does the same in fewer operations where there is one."""
    groups = optimizer.param_groups
    if type(optimizer) is not ClippedAdagrad or len(groups) > 1:
        return optimizer
    return FlatAdagrad(
        groups[0]["params"],
        groups[0]["lr"],
        groups[0]["grad_clip"],
        values_RN=flat.values_RN,
        gradients_RN=flat.gradients_RN,
        owner_R=flat.owner_R,
        views=flat.views,
    )


def prepare(optimizer: torch.optim.Optimizer, device: torch.device) -> bool:
    """Have an optimizer, new or just loaded, step on its device without a look at the host, so that
    the step can be captured.

    Returns:
        Whether it can.
    """
    can = device.type == "cuda" and isinstance(optimizer, ClippedAdagrad | AdamW | SGD)
    if not can:
        return False
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), device=device)
        if isinstance(optimizer, AdamW):
            group["capturable"] = True
        if isinstance(optimizer, SGD):  # the others of torch's read the learning rate back
            group["fused"], group["foreach"] = True, False
    for state in optimizer.state.values():
        if "step" in state:
            state["step"] = state["step"].to(device)
    return True


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What a checkpoint holds, the same for every device."""
    state = optimizer.state_dict()
    plain = {"capturable": False, "fused": None, "foreach": None}
    state["param_groups"] = [
        {**group, "lr": float(group["lr"]), **{key: plain[key] for key in plain if key in group}}
        for group in state["param_groups"]
    ]
    return state
