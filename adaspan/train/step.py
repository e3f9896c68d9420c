"""What an update computes on the device, in two halves, between which several processes share their
gradients. Nothing here waits for the device but dynamic spans, so that the rest can be captured.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from adaspan.config.schema import RunConfig
from adaspan.nn.attention.groups import Group
from adaspan.nn.budget import SpanBudget
from adaspan.nn.transformer import Plan, Transformer
from adaspan.train.device import autocast
from adaspan.train.flat import FlatParameters
from adaspan.train.optim import clip_gradients
from adaspan.train.statistics import UpdateStatistics


class Learned(NamedTuple):
    """What a block taught, beside the gradients."""

    loss: Tensor  # means over all tokens, in nats
    penalty: Tensor
    mean_spans_LH: Tensor | None  # None if they are fixed
    caches: list[Tensor]  # for the next block
    groups: list[list[Sequence[Group]]]  # of each micro-batch and layer


class Applied(NamedTuple):
    """What is seen of an update of the weights."""

    norms_Q: Tensor  # of the gradients, see `UpdateStatistics.norms`
    spans_LH: Tensor | None  # after it, in tokens; None if no plan stands by them


class Step:
    """An update, on one device.

    Args:
        config: of the run.
        model: to be trained.
        optimizer: of its parameters.
        statistics: of the updates.
        budget: of the spans, if there is one.
        precision: of matrix products.
        flat: where the parameters and their gradients stay, so that it can be captured; None: they
            need not.
    """

    def __init__(
        self,
        config: RunConfig,
        model: Transformer,
        optimizer: torch.optim.Optimizer,
        statistics: UpdateStatistics,
        budget: SpanBudget | None,
        precision: torch.dtype,
        flat: FlatParameters | None,
    ) -> None:
        self._config = config
        self._model = model
        self._optimizer = optimizer
        self._statistics = statistics
        self._budget = budget
        self._precision = precision
        self._parameters = list(model.parameters())
        self._flat = flat

    def learn(
        self,
        inputs_BM: Tensor,
        targets_BM: Tensor,
        caches: Sequence[Tensor],
        plan: Plan | None = None,
    ) -> Learned:
        """Add up the gradients of a block's micro-batches.

        Args:
            inputs_BM: on the device, as the targets.
            targets_BM: the tokens to come.
            caches: of each layer, (B, C, D).
            plan: which heads share which window, for a micro-batch; None: as spans are now.
        """
        pieces = self._config.train.micro_batches
        size = len(inputs_BM) // pieces
        plan = plan or self._model.plan(size, inputs_BM.shape[1])
        losses, penalties, spans, parts, groups = [], [], [], [], []
        for i in range(pieces):
            part = slice(i * size, (i + 1) * size)
            with autocast(inputs_BM.device, self._precision), self._weights():
                cached = [cache[part] for cache in caches]
                output = self._model(inputs_BM[part], cached, plan, targets_BM[part])
                loss = output.nats_BM.mean()
            self._differentiate((loss + output.penalty) / pieces, first=i == 0)
            losses.append(loss.detach())
            penalties.append(output.penalty.detach())
            spans += [torch.stack(output.mean_spans)] if output.mean_spans else []
            parts.append(output.caches)
            groups.append(output.groups)
        return Learned(
            torch.stack(losses).mean(),
            torch.stack(penalties).mean(),
            torch.stack(spans).mean(0) if spans else None,
            parts[0] if pieces == 1 else [torch.cat(of) for of in zip(*parts, strict=True)],
            groups,
        )

    def apply(self) -> Applied:
        """Update the weights by their gradients, and clear these."""
        if self._flat:
            self._flat.attach()
        norms_Q = self._statistics.norms()
        clip_gradients(self._config.optimizer, self._parameters)
        self._optimizer.step()
        if self._flat is None:
            self._optimizer.zero_grad()
        self._model.clamp_spans_()
        if self._budget:
            self._budget.update()
        if self._flat is None:
            return Applied(norms_Q, None)
        self._flat.refresh()
        return Applied(norms_Q, self._model.current_spans())

    def _weights(self) -> AbstractContextManager[None]:
        return nullcontext() if self._flat is None else self._flat.narrow()

    def _differentiate(self, loss: Tensor, *, first: bool) -> None:
        """Add to the gradients of the update."""
        if self._flat is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            gradients = torch.autograd.grad(loss, self._flat.leaves, materialize_grads=True)
            self._flat.take(gradients, first=first)
