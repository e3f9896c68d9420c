"""What moves the weights and the spans, and how far clipping holds each back.

A few numbers of every update stay on the device until a row is made of them, with its losses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adaspan.config.kinds.optimizer import OptimizerConfig
from adaspan.nn.span import AdaptiveSpan
from adaspan.nn.transformer import Transformer
from adaspan.runs import figures
from adaspan.runs.figures import Row
from adaspan.train.distributed import Processes


class UpdateStatistics:
    """Penalties and gradients of the updates since the row before.

    Args:
        settings: of the optimizer, which say how it clips.
        model: whose gradients are looked at.
        processes: that train together; their gradients are equal, their penalties need not be.
    """

    def __init__(self, settings: OptimizerConfig, model: Transformer, processes: Processes) -> None:
        of_spans = {id(p) for span in model.spans for p in span.parameters()}
        self._settings = settings
        self._processes = processes
        self._parameters = list(model.parameters())  # P tensors
        self._is_span_P = torch.tensor([id(p) in of_spans for p in self._parameters])
        # Whose penalty is known to be as printed; a subclass may have another.
        self._adaptive = [span for span in model.spans if type(span) is AdaptiveSpan]
        self._no_gradient = torch.zeros(1, device=self._parameters[0].device)
        self._penalties: list[Tensor] = []
        self._norms_Q: list[Tensor] = []  # what `norms` gave
        self._shared_penalties = torch.empty(0)  # of the first updates
        columns = len(self._parameters) + (2 if self._adaptive else 0)
        self._shared_norms_NQ = torch.empty(0, columns)

    def norms(self) -> Tensor:
        """Of the gradients of an update, which are not clipped yet: (Q,), one of each of the P
        tensors, then what prediction and penalty give to adaptive spans. Does not wait.
        """
        gradients = [self._no_gradient if p.grad is None else p.grad for p in self._parameters]
        parts = [torch.stack(torch._foreach_norm(gradients))]
        if self._adaptive:
            parts.append(self._pulls_on_spans())
        return torch.cat(parts)

    def _pulls_on_spans(self) -> Tensor:
        """(2,): norms of the parts of the spans' gradient, by the prediction and the penalty."""
        penalty: dict[nn.Parameter, Tensor] = {}  # layers may share a parameter
        for span in self._adaptive:
            gradient = span.penalty_gradient()
            penalty[span.fraction] = penalty.get(span.fraction, 0) + gradient
        prediction = [
            -of_penalty if fraction.grad is None else fraction.grad - of_penalty
            for fraction, of_penalty in penalty.items()
        ]
        norms = [
            torch.stack(torch._foreach_norm(part)) for part in (prediction, [*penalty.values()])
        ]
        return torch.stack(norms).square().sum(1).sqrt()

    def note(self, penalty: Tensor, norms_Q: Tensor) -> None:
        """Take up an update. Does not wait.

        Args:
            penalty: a scalar, in nats per token.
            norms_Q: what `norms` gave.
        """
        self._norms_Q.append(norms_Q)
        self._penalties.append(penalty)

    def state(self) -> dict[str, Tensor]:
        """All of it, over all processes; what a checkpoint holds. Waits for the device."""
        if self._norms_Q:
            own = self._processes.mean(torch.stack(self._penalties)).cpu()
            self._shared_penalties = torch.cat([self._shared_penalties, own])
            norms_NQ = torch.stack(self._norms_Q).float().cpu()
            self._shared_norms_NQ = torch.cat([self._shared_norms_NQ, norms_NQ])
            self._penalties, self._norms_Q = [], []
        return {"penalties": self._shared_penalties, "norms": self._shared_norms_NQ}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave; a checkpoint of before these were kept has nothing, or
        nothing of prediction and penalty.
        """
        self._shared_penalties = state.get("penalties", self._shared_penalties[:0])
        norms_NQ = state.get("norms", self._shared_norms_NQ[:0])
        missing = self._shared_norms_NQ.shape[1] - norms_NQ.shape[1]
        self._shared_norms_NQ = F.pad(norms_NQ, (0, missing), value=math.nan)

    def take(self) -> Row:
        """Figures of the updates since the last call, without those that are not finite: a
        gradient may overflow while its clipped step is sound. All processes must call it.
        """
        state = self.state()
        self.load({})
        row = {figures.PENALTY.key: state["penalties"].double().mean().item()}
        norms_NQ = state["norms"].double()
        norms_NP, pulls_N2 = norms_NQ.tensor_split([len(self._parameters)], dim=1)
        scales_NP = self._scales(norms_NP)
        for part, chosen_P in self._parts():
            norms = torch.linalg.vector_norm(norms_NP[:, chosen_P], dim=1)
            scales = scales_NP[:, chosen_P]
            row[figures.GRADIENT_NORM[part].key] = norms.median().item()
            row[figures.CLIPPED[part].key] = (scales < 1).double().mean().item()
            row[figures.CLIPPED_TO[part].key] = scales.mean().item()
        for of, norms_N in zip(figures.PULL, pulls_N2.T, strict=False):
            row[figures.PULL[of].key] = norms_N.median().item()
        return {key: value for key, value in row.items() if math.isfinite(value)}

    def _parts(self) -> Iterator[tuple[str, Tensor]]:
        """Weights and spans, if these are learned."""
        yield "weights", ~self._is_span_P
        if self._is_span_P.any():
            yield "spans", self._is_span_P

    def _scales(self, norms_NP: Tensor) -> Tensor:
        """What clipping multiplies each tensor's step, or gradient, by."""
        if not self._settings.grad_clip:
            return torch.ones_like(norms_NP)
        lengths_NP = norms_NP
        if not self._settings.clips_steps:  # but gradients, all by one factor
            lengths_N1 = torch.linalg.vector_norm(norms_NP, dim=1, keepdim=True)
            lengths_NP = lengths_N1.expand_as(norms_NP)
        return torch.full_like(norms_NP, self._settings.grad_clip).div(lengths_NP).clamp(max=1)
