"""Steps of a GPU: windows, memory and, in the end, the captured operations stand for many updates.

They are the same whether or not steps are captured, so that both give the same results.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from adaspan.nn.transformer import Transformer
from adaspan.train.flat import FlatParameters
from adaspan.train.graph import GraphedStep
from adaspan.train.plans import StandingPlan
from adaspan.train.step import Applied, Learned, Step


class StandingStep:
    """A `Step` with a standing plan. Waits for the GPU once an update, for the spans.

    Args:
        step: whose parameters are flat.
        model: that it trains.
        flat: these parameters.
        streams: of a micro-batch.
        block_size: M.
        captures: whether the first half of a step is captured, and ...
        applies: ... whether the second half, too.
    """

    def __init__(
        self,
        step: Step,
        model: Transformer,
        flat: FlatParameters,
        *,
        streams: int,
        block_size: int,
        captures: bool,
        applies: bool,
    ) -> None:
        self._model = model
        self._flat = flat
        self._graphed = GraphedStep(step, applies=applies) if captures else None
        self._step = self._graphed or step
        make = partial(model.plan_for, batch=streams, block=block_size)
        self.plan = StandingPlan(model.limit, model.spans[0].ramp, make)
        self._spans_LH: Tensor | None = None  # as they are; None: to be asked for

    def learn(self, inputs_BM: Tensor, targets_BM: Tensor, caches: list[Tensor]) -> Learned:
        """See `Step.learn`."""
        return self._step.learn(inputs_BM, targets_BM, caches, self.plan.next(self._spans()))

    def apply(self) -> Applied:
        """See `Step.apply`."""
        applied = self._step.apply()
        self._spans_LH = applied.spans_LH
        return applied

    def begin_anew(self) -> None:
        """Look at the weights and the optimizer anew, which were loaded."""
        self._flat.refresh()
        self._spans_LH = None
        if self._graphed:
            self._graphed.forget()

    def _spans(self) -> Tensor:
        """(L, H), in tokens, on the CPU. Waits for the GPU."""
        spans_LH = self._model.current_spans() if self._spans_LH is None else self._spans_LH
        assert spans_LH is not None
        return spans_LH.cpu()
