"""How the weights are updated: `optimizer=KIND`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from omegaconf import MISSING

from adaspan.config.checks import above_zero, at_least, probability
from adaspan.config.kinds.registry import register

if TYPE_CHECKING:
    import torch

    from adaspan.config.schema import RunConfig


@dataclass
class OptimizerConfig:
    """Step size, warm-up and clipping. Update t of a warm-up of T steps runs at lr * t / T."""

    group: ClassVar[str] = "optimizer"
    clips_steps: ClassVar[bool] = False  # its own steps, by grad_clip; else gradients are clipped

    kind: str = field(default=MISSING, init=False)  # the name that it is registered under
    lr: float = MISSING
    warmup_steps: int = 0
    cooldown_steps: int = 0  # the last steps of the run, at cooldown_factor * lr
    cooldown_factor: float = 0.1
    grad_clip: float = 0.0  # longest gradient, all tensors taken together; 0: off

    def mistakes(self) -> Iterator[str]:
        """What is wrong with the values, each as `key=value: what is allowed`."""
        yield from above_zero("optimizer.lr", self.lr)
        yield from at_least("optimizer.warmup_steps", self.warmup_steps, 0)
        yield from at_least("optimizer.cooldown_steps", self.cooldown_steps, 0)
        yield from above_zero("optimizer.cooldown_factor", self.cooldown_factor)
        yield from at_least("optimizer.grad_clip", self.grad_clip, 0)

    def mistakes_in(self, config: RunConfig) -> Iterator[str]:
        """Mistakes that involve other groups; asked once every value is valid on its own.

        Args:
            config: of the run.
        """
        if self.cooldown_steps > config.train.steps:
            yield (
                f"optimizer.cooldown_steps={self.cooldown_steps}: "
                f"must be at most train.steps={config.train.steps}; "
                "optimizer.cooldown_steps=0: none"
            )

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """What updates the parameters. Before each step it is given the learning rate, and
        gradients that are clipped already unless `clips_steps`.
        """
        raise NotImplementedError


@register("optimizer", "adagrad")
@dataclass
class AdagradConfig(OptimizerConfig):
    """Adagrad whose *step* is clipped per tensor, as the paper's runs did."""

    clips_steps: ClassVar[bool] = True

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        from adaspan.nn.adagrad import ClippedAdagrad

        return ClippedAdagrad(parameters, self.lr, self.grad_clip)


@register("optimizer", "adam")
@dataclass
class AdamConfig(OptimizerConfig):
    """Adam, gradient clipped by its global norm."""

    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0  # decoupled (AdamW)

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        yield from probability("optimizer.beta1", self.beta1)
        yield from probability("optimizer.beta2", self.beta2)
        yield from at_least("optimizer.weight_decay", self.weight_decay, 0)

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.AdamW(
            parameters,
            self.lr,
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
        )


@register("optimizer", "sgd")
@dataclass
class SgdConfig(OptimizerConfig):
    """Stochastic gradient descent, gradient clipped by its global norm."""

    momentum: float = 0.0

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        yield from probability("optimizer.momentum", self.momentum)

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.SGD(parameters, self.lr, momentum=self.momentum)
