"""Which windows a GPU computes with, so that they stand for many updates.

A captured step has fixed shapes, and spans move with every update. So windows are rounded up, and
kept while every head's fits and no more than a part of the work is for nothing. What is computed
beyond a head's own window has the weight 0 there or nearly so.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import gt

import torch
from torch import Tensor

from adaspan.nn.attention.groups import Group
from adaspan.nn.span import reach
from adaspan.nn.transformer import Plan

# Every head's span in tokens, a list a layer.
Lengths = Sequence[Sequence[float]]
# Makes a plan for windows as far as the first ones reach, masked from the second ones on.
MakePlan = Callable[[Lengths, Lengths], Plan]
# A group of a plan, as a checkpoint holds it.
GroupState = tuple[list[int], int, int, list[int]]

# Windows are multiples of it, each longer by it than the one before, ...
_UNIT = 64
# ... or by this part, where that is more.
_PART = 0.125
# A plan is replaced when another would take less than this part of its work.
_WORTHWHILE = 0.8


def rounded_windows(limit: int) -> list[int]:
    """64, 128, ... 512, 576, 704, 832, 960, 1088, ... up to the limit."""
    windows = [_UNIT]
    while windows[-1] < limit:
        windows.append(windows[-1] + _UNIT * math.ceil(_PART * windows[-1] / _UNIT))
    return windows


def rounded_down(span: float) -> float:
    """From where on a head's keys are masked, nearer than its span."""
    return math.floor(span / _UNIT) * _UNIT if math.isfinite(span) else span


class StandingPlan:
    """The plan of a training on a GPU. What the next one is depends on this one and on the spans
    alone, so that a run which goes on from a checkpoint has the same ones.

    Args:
        limit: S.
        ramp: R; None: windows are hard, and stay as they are.
        make: makes a plan of spans.
    """

    def __init__(self, limit: int, ramp: float | None, make: MakePlan) -> None:
        self._limit = limit
        self._ramp = ramp
        self._make = make
        self._plan: Plan | None = None
        self._windows = rounded_windows(limit)
        self._windows_W = torch.tensor(self._windows, dtype=torch.float64)
        self._served_2LH = torch.empty(0)  # rounded spans that the plan was last found to serve

    def next(self, spans_LH: Tensor) -> Plan:
        """For the next update; the same object for as long as the plan stands.

        Args:
            spans_LH: every head's span in tokens, as it is, on the CPU.
        """
        rounded_2LH = self._rounded_spans(spans_LH)
        if self._plan is None or not torch.equal(rounded_2LH, self._served_2LH):
            lengths = spans_LH.tolist()
            if self._plan is None or not self._serves(self._plan, lengths):
                self._plan = self._rounded(lengths)
            self._served_2LH = rounded_2LH
        return self._plan

    def _rounded_spans(self, spans_LH: Tensor) -> Tensor:
        """All of the spans that decides whether a plan serves them, at once: the GPU waits."""
        spans_LH = spans_LH.double()
        if self._ramp is None:
            return spans_LH
        window_LH = torch.bucketize((spans_LH + self._ramp).floor() + 1, self._windows_W)
        return torch.stack([window_LH, (spans_LH / _UNIT).floor()])

    def state(self) -> list[list[GroupState]]:
        """What a checkpoint holds: the groups of each layer; nothing before the first update."""
        return [
            [(list(g.heads), g.window, g.unmasked, list(g.windows)) for g in groups or ()]
            for groups in self._plan or ()
        ]

    def load(self, state: Sequence[Sequence[GroupState]]) -> None:
        """Go on from what `state` gave."""
        self._plan = [
            tuple(
                Group(tuple(heads), window, unmasked, tuple(windows))
                for heads, window, unmasked, windows in groups
            )
            for groups in state
        ] or None
        self._served_2LH = torch.empty(0)

    def _rounded(self, lengths: Lengths) -> Plan:
        if self._ramp is None:
            return self._make(lengths, lengths)
        longest = [[self._span_of(span) for span in spans] for spans in lengths]
        shortest = [[rounded_down(span) for span in spans] for spans in lengths]
        return self._make(longest, shortest)

    def _span_of(self, span: float) -> float:
        """The span whose window is the rounded one."""
        assert self._ramp is not None
        if not math.isfinite(span):
            return span
        window = reach(span, self._limit, self._ramp)
        rounded = self._windows[bisect_left(self._windows, window)]
        return min(max(0.0, rounded - 0.5 - self._ramp), self._limit)

    def _serves(self, plan: Plan, lengths: Lengths) -> bool:
        """Whether every head's window fits, and another plan would not save much."""
        if self._ramp is None:
            return True
        ramp = self._ramp
        for groups, spans in zip(plan, lengths, strict=True):
            for group in groups or ():
                own = [spans[head] for head in group.heads]
                reaches = (reach(span, self._limit, ramp) for span in own)
                if any(map(gt, reaches, group.window_of_each())):
                    return False
                if any(not span >= group.unmasked for span in own):
                    return False
        return _work(self._rounded(lengths)) >= _WORTHWHILE * _work(plan)


def _work(plan: Plan) -> int:
    """Keys that a query sees in all heads."""
    return sum(sum(group.window_of_each()) for groups in plan for group in groups or ())
