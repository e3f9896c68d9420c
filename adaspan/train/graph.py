"""Steps of a GPU that are captured once and then started as a whole.

A small model's step is hundreds of operations, and to start one takes the host longer than the GPU
needs to compute it. Captured, all of them are started by one call. They read and write the very
memory that they had when they were captured, in the same order, and give the same results.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor

from adaspan.nn.attention import BUILT_IN
from adaspan.nn.span import AdaptiveSpan, FixedSpan
from adaspan.nn.transformer import Plan, Transformer
from adaspan.train.step import Applied, Learned, Step

T = TypeVar("T")
# Shapes are captured that have stood for so many updates: at first spans may grow fast.
_STEADY = 20


class Captured(Generic[T]):
    """What `work` starts on the GPU, captured; nothing of it is computed yet.

    It must have run before, as it is, so that nothing is made for the first time now. Captures have
    a stream each: with one graph of a stream goes what others of it need.

    Args:
        work: never waits for the GPU, and reads tensors that stay.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.graph(self._graph, stream=stream), _no_garbage_collection():
            self._result = work()

    def replay(self) -> T:
        """Start it. Its result lies in the same memory each time."""
        self._graph.replay()
        return self._result


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """What is freed during a capture can end it."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def can_be_captured(model: Transformer) -> bool:
    """Whether a step of the model, on a GPU, never waits once there is a plan."""
    spans_known = all(type(span) in (AdaptiveSpan, FixedSpan) for span in model.spans)
    built_in = model.attention in BUILT_IN
    return spans_known and built_in and isinstance(model.embedding, torch.nn.Embedding)


class GraphedStep:
    """The same as a `Step`, to the bit, captured while shapes stand.

    Args:
        step: what to capture.
        applies: whether its second half can be captured, too.
    """

    def __init__(self, step: Step, *, applies: bool) -> None:
        self._step = step
        self._applies = applies
        self._plan: Plan | None = None
        self._shapes: list[torch.Size] = []  # of the caches
        self._updates = 0  # with that plan and these shapes, one after the other
        self._learning: _Learning | None = None
        self._applying: Captured[Applied] | None = None
        self._has_applied = False

    def learn(
        self, inputs_BM: Tensor, targets_BM: Tensor, caches: list[Tensor], plan: Plan
    ) -> Learned:
        """See `Step.learn`. The plan is the same object for as long as it stands."""
        shapes = [cache.shape for cache in caches]
        if plan is not self._plan:
            self._learning = None  # before its memory is needed
        stands = plan is self._plan and shapes == self._shapes
        self._updates = self._updates + 1 if stands else 0
        self._plan, self._shapes = plan, shapes
        if self._learning is None and self._updates >= _STEADY:
            self._learning = _Learning(self._step, inputs_BM, caches, plan)
        if self._learning is None or shapes != self._learning.shapes:
            return self._step.learn(inputs_BM, targets_BM, caches, plan)
        return self._learning(inputs_BM, targets_BM, caches)

    def apply(self) -> Applied:
        """See `Step.apply`."""
        if not (self._applies and self._has_applied):
            self._has_applied = True
            return self._step.apply()
        if self._applying is None:
            self._applying = Captured(self._step.apply)
        applied = self._applying.replay()
        return applied._replace(norms_Q=applied.norms_Q.clone())

    def forget(self) -> None:
        """Capture anew: the optimizer has other tensors now."""
        self._applying, self._has_applied = None, False


class _Learning:
    """The first half of a step, for one plan and caches of these shapes."""

    def __init__(self, step: Step, inputs_BM: Tensor, caches: list[Tensor], plan: Plan) -> None:
        self.shapes = [cache.shape for cache in caches]
        self._inputs_BM = torch.empty_like(inputs_BM)
        self._targets_BM = torch.empty_like(inputs_BM)
        self._caches = [torch.empty_like(cache) for cache in caches]

        def work() -> Learned:
            learned = step.learn(self._inputs_BM, self._targets_BM, self._caches, plan)
            torch._foreach_copy_(self._caches, learned.caches)
            return learned._replace(caches=self._caches)

        self._captured = Captured(work)

    def __call__(self, inputs_BM: Tensor, targets_BM: Tensor, caches: list[Tensor]) -> Learned:
        self._inputs_BM.copy_(inputs_BM)
        self._targets_BM.copy_(targets_BM)
        if caches is not self._caches:
            torch._foreach_copy_(self._caches, caches)
        learned = self._captured.replay()
        return learned._replace(loss=learned.loss.clone(), penalty=learned.penalty.clone())
