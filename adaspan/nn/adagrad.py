"""The optimizer of the paper's runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


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
            torch._foreach_mul_(steps, -group["lr"])  # a number, or on a GPU a tensor
            if group["grad_clip"] > 0:
                norms = torch._foreach_norm(gradients)
                scales = group["grad_clip"] / (torch.stack(norms) + self._EPSILON)
                torch._foreach_mul_(steps, scales.clamp_(max=1).unbind())
            torch._foreach_add_(parameters, steps)


class FlatAdagrad(ClippedAdagrad):
    """The same, to the bit, for parameters that lie in rows of one tensor: ten operations for all.

    Args:
        parameters: as they are in `values_RN`, their gradients likewise.
        lr: learning rate.
        grad_clip: as in `ClippedAdagrad`.
        values_RN: all parameters; a row belongs to one of them, and ends with zeros where it ends.
        gradients_RN: likewise.
        owner_R: which parameter a row belongs to.
        views: gives each parameter's part of a tensor that is laid out like these.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        grad_clip: float,
        *,
        values_RN: Tensor,
        gradients_RN: Tensor,
        owner_R: Tensor,
        views: Callable[[Tensor], list[Tensor]],
    ) -> None:
        super().__init__(parameters, lr, grad_clip)
        self._values_RN, self._gradients_RN, self._owner_R = values_RN, gradients_RN, owner_R
        self._sums_RN = torch.zeros_like(values_RN)
        self._views = views
        self._move_sums()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._move_sums()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        (group,) = self.param_groups
        self._sums_RN.addcmul_(self._gradients_RN, self._gradients_RN)
        steps_RN = self._gradients_RN / self._sums_RN.sqrt().add_(self._EPSILON)
        steps_RN *= -group["lr"]
        if group["grad_clip"] > 0:
            norms_P = torch.stack(torch._foreach_norm(self._views(self._gradients_RN)))
            scales_P = (group["grad_clip"] / (norms_P + self._EPSILON)).clamp_(max=1)
            steps_RN *= scales_P[self._owner_R].unsqueeze(1)
        self._values_RN += steps_RN

    def _move_sums(self) -> None:
        """Into one tensor, where they stay."""
        (group,) = self.param_groups
        for parameter, own in zip(group["params"], self._views(self._sums_RN), strict=True):
            own.copy_(self.state[parameter]["sum"])
            self.state[parameter]["sum"] = own
