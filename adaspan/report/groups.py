"""Runs, and groups of runs that differ in their seed only.

A group's figures are means over the seeds that are done, with their standard deviation; what the
others have so far is never mixed into them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from adaspan.report.labels import brief, in_short
from adaspan.runs import figures
from adaspan.runs.failures import State
from adaspan.runs.figures import Figure, Row
from adaspan.runs.figures.rows import head_span_key, head_spans, is_final, measure_of
from adaspan.runs.folder import RunFolder
from adaspan.runs.measures import Measure
from adaspan.runs.slices import Slices, read_slices
from adaspan.status.state import RunState

SEED = "train.seed"
CODE = "code"


@dataclass(frozen=True)
class Curve:
    """The course of training: a point for each evaluation."""

    steps: NDArray[np.int64]
    tokens: NDArray[np.float64]
    flops: NDArray[np.float64]  # of training so far, executed
    valid: NDArray[np.float64]  # score on part of valid
    spread: NDArray[np.float64]  # standard deviation over seeds, 0 for one

    def thinned(self, most: int) -> Curve:
        """At most `most` points of it, the last among them."""
        kept = thinned(len(self.steps), most)
        return Curve(
            self.steps[kept],
            self.tokens[kept],
            self.flops[kept],
            self.valid[kept],
            self.spread[kept],
        )


@dataclass(frozen=True)
class Run:
    """One run folder."""

    path: Path  # of its folder
    state: RunState
    values: Mapping[str, object]  # dotted keys of its configuration; none before it begins
    data: str  # the beginning of its text's fingerprint; empty before it begins
    rows: Sequence[Row]
    starts: Sequence[Mapping[str, object]] = ()  # what is told of each: see `runs/start.py`

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def seed(self) -> str:
        return str(self.values.get(SEED, self.state.varies.get(SEED, "")))

    @property
    def has_begun(self) -> bool:
        """Whether it is known how it was computed."""
        return any(self.starts)

    @property
    def precision(self) -> str:
        """Of its products, whatever was asked for; empty if that is not known."""
        return "+".join(self._of_starts("precision"))

    @property
    def code(self) -> str:
        """What tells apart the code that trained it; empty if that is not known."""
        return "+".join(self._of_starts(CODE))

    def _of_starts(self, key: str) -> list[str]:
        return list(dict.fromkeys(str(start[key]) for start in self.starts if key in start))

    @property
    def is_done(self) -> bool:
        return self.state.state == State.DONE and is_final(self.last)

    @cached_property
    def last(self) -> Row:
        """The last value of every figure; empty before the first row."""
        return {key: value for row in self.rows for key, value in row.items()}

    @cached_property
    def evaluations(self) -> list[Row]:
        return [row for row in self.rows if figures.QUICK.within(row)]

    @cached_property
    def measure(self) -> Measure | None:
        """Of its scores; None before it has one."""
        return measure_of(self.rows)

    @cached_property
    def slices(self) -> Slices | None:
        """What slices of valid cost it; None if that was not kept."""
        return read_slices(RunFolder(self.path).slices)

    @property
    def quick(self) -> float | None:
        """The last quick evaluation: not to be compared with a final figure."""
        return figures.QUICK.value(self.evaluations[-1]) if self.evaluations else None

    @cached_property
    def tokens_per_second(self) -> float | None:
        """Over the whole training."""
        speed = figures.TOKENS_PER_SECOND.key
        trained = [row for row in self.rows if speed in row]
        if not trained:
            return None
        tokens = np.diff([0, *(row[figures.TOKENS.key] for row in trained)])
        seconds = tokens / [row[speed] for row in trained]
        return float(tokens.sum() / seconds.sum())

    @property
    def seconds(self) -> float | None:
        """Time spent on updates."""
        speed = self.tokens_per_second
        return None if speed is None else float(self.last[figures.TOKENS.key]) / speed

    def curve(self) -> Curve | None:
        """The course of its training; None before the first evaluation."""
        return _mean_curve([self])

    def spans(self) -> tuple[list[int], NDArray[np.float64]]:
        """Steps of the evaluations, and each head's span in tokens then: [steps, L, H]."""
        heads = [(layer, head) for layer, head, _ in head_spans(self.last)]
        keys = [head_span_key(layer, head) for layer, head in heads]
        layers = len({layer for layer, _ in heads})
        spans = [[row[key] for key in keys] for row in self.evaluations]
        steps = [row["step"] for row in self.evaluations]
        shape = len(steps), layers, len(heads) // max(1, layers)
        return steps, np.array(spans, dtype=float).reshape(shape)


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only."""

    varies: Mapping[str, str]  # the values in which it differs from other groups
    runs: Sequence[Run]

    @property
    def label(self) -> str:
        """The overrides that train it."""
        return " ".join(f"{key}={value}" for key, value in self.varies.items()) or self.runs[0].name

    @property
    def brief_label(self) -> str:
        """The first of these overrides, for a sentence."""
        return brief(self.varies) or self.runs[0].name

    @property
    def short_label(self) -> str:
        """The same for a legend: `adaptive, limit 1024`."""
        return in_short(self.varies) or self.runs[0].name

    @property
    def first(self) -> Run:
        return first_begun(self.runs)

    @property
    def done(self) -> list[Run]:
        return [run for run in self.runs if run.is_done]

    @property
    def not_done(self) -> list[Run]:
        return [run for run in self.runs if not run.is_done]

    @property
    def span_kind(self) -> str:
        return str(self.first.values.get("span", self.varies.get("span", "")))

    @property
    def span_limit(self) -> int:
        limit = self.first.values["span.limit"]
        assert isinstance(limit, int)
        return limit

    @cached_property
    def measure(self) -> Measure | None:
        """Of its scores; None before there is one."""
        return next((run.measure for run in self.runs if run.measure), None)

    @property
    def valid(self) -> float | None:
        """The score on all of valid."""
        return mean_of(self.done, lambda run: figures.VALID.value(run.last))

    @property
    def rank(self) -> float:
        """Less for a better score on valid; those without one come last."""
        return math.inf if self.valid is None else self.valid

    @property
    def spread(self) -> float | None:
        """Standard deviation of that over seeds; None for fewer than two."""
        return self.deviation(figures.VALID.of(self.measure)) if self.measure else None

    @property
    def test(self) -> float | None:
        return mean_of(self.done, lambda run: figures.TEST.value(run.last))

    @property
    def learns_spans(self) -> bool:
        """Whether its heads choose how far back they look."""
        return self.span_kind not in ("fixed", "local_global")

    @property
    def span_mean(self) -> float | None:
        return self.mean(figures.SPAN_MEAN)

    @property
    def cost(self) -> float | None:
        """FLOPs a token of the forward pass, as they were executed in training; None if the runs do
        not say it.
        """
        return self.mean(figures.EXECUTED_FLOPS)

    @property
    def macs_per_token(self) -> float | None:
        """Multiply-accumulates a token, as the paper counts."""
        return self.mean(figures.PAPER_MACS)

    @property
    def tokens_per_second(self) -> float | None:
        return mean_of(self.done, lambda run: run.tokens_per_second)

    @property
    def seconds(self) -> float | None:
        return mean_of(self.done, lambda run: run.seconds)

    def curve(self) -> Curve | None:
        """The mean over the seeds that are done; None if none is, or they share no evaluation."""
        return _mean_curve(self.done) if self.done else None

    def mean(self, figure: Figure) -> float | None:
        """Of its last values over the seeds that are done and have it; None if none has."""
        return mean_of(self.done, lambda run: run.last.get(figure.key))

    def deviation(self, figure: Figure) -> float | None:
        """Standard deviation likewise; None for fewer than two seeds."""
        values = [run.last[figure.key] for run in self.done if figure.key in run.last]
        return stdev(values) if len(values) > 1 else None


def first_begun(runs: Sequence[Run]) -> Run:
    """The first run that has a configuration; the very first if none has."""
    return next((run for run in runs if run.values), runs[0])


def mean_of(runs: Sequence[Run], figure: Callable[[Run], float | None]) -> float | None:
    """Over the runs that have the figure; None if none has."""
    values = [value for run in runs if (value := figure(run)) is not None]
    return fmean(values) if values else None


def thinned(count: int, most: int) -> list[int]:
    """Indices of at most `most` of `count` points, evenly spaced, the last among them."""
    stride = max(1, -(-count // most))
    return list(range(count - 1, -1, -stride))[::-1]


def _mean_curve(runs: Sequence[Run]) -> Curve | None:
    """The mean over runs, at the steps at which all were evaluated; None if there are none."""
    rows = [{row[figures.STEP.key]: row for row in run.evaluations} for run in runs]
    steps = sorted(set.intersection(*({*of_run} for of_run in rows)))
    if not steps:
        return None

    def of(value: Callable[[Row], float | None]) -> NDArray[np.float64]:
        return np.array([[value(of_run[step]) for step in steps] for of_run in rows], dtype=float)

    valid = of(figures.QUICK.value)
    return Curve(
        steps=np.array(steps),
        tokens=of(lambda row: row[figures.TOKENS.key]).mean(0),
        flops=of(lambda row: row[figures.TRAINING_FLOPS.key]).mean(0),
        valid=valid.mean(0),
        spread=valid.std(0, ddof=min(1, len(runs) - 1)),
    )
