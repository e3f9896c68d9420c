"""What a report says, taken from run folders alone.

Runs that differ in their seed only are one group: its figures are means over the seeds that are
done, with their standard deviation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from adaspan.config.frozen import flat, read_values
from adaspan.run_folder import Row, RunFolder
from adaspan.sweep.state import RunState, read_states

_SEED = "train.seed"
# Differ from run to run without saying anything.
_NOT_COMPARED = ("output_dir", "data_dir", "train.restart", _SEED)


@dataclass(frozen=True)
class Curve:
    """How a run or a group went, an evaluation a point."""

    steps: NDArray[np.int64]
    tokens: NDArray[np.float64]
    flops: NDArray[np.float64]  # of training so far, executed
    bpc: NDArray[np.float64]  # quick look at valid
    spread: NDArray[np.float64]  # standard deviation over seeds, 0 for one


@dataclass(frozen=True)
class Run:
    """One run folder."""

    folder: Path
    state: RunState
    values: Mapping[str, object]  # dotted keys of its configuration
    rows: Sequence[Row]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def is_done(self) -> bool:
        return self.state.state == "done"

    @cached_property
    def last(self) -> Row:
        """The last value of every figure; empty before the first row."""
        return {key: value for row in self.rows for key, value in row.items()}

    @cached_property
    def evaluations(self) -> list[Row]:
        return [row for row in self.rows if "val/bpc" in row]

    @property
    def tokens_per_second(self) -> float | None:
        """Over the whole training."""
        trained = [row for row in self.rows if "perf/tokens_per_second" in row]
        if not trained:
            return None
        tokens = np.diff([0, *(row["tokens"] for row in trained)])
        seconds = tokens / [row["perf/tokens_per_second"] for row in trained]
        return float(tokens.sum() / seconds.sum())

    @property
    def seconds(self) -> float | None:
        """Spent on updates."""
        speed = self.tokens_per_second
        return None if speed is None else float(self.last["tokens"]) / speed

    def spans(self) -> tuple[list[int], NDArray[np.float64]]:
        """Steps of the evaluations, and each head's span in tokens then: [steps, L, H]."""
        keys = sorted(key for key in self.last if key.startswith("span/layer_"))
        layers = len({key.rpartition("/")[0] for key in keys})
        heads = len(keys) // layers if layers else 0
        found = [[row[key] for key in keys] for row in self.evaluations]
        steps = [row["step"] for row in self.evaluations]
        return steps, np.array(found, dtype=float).reshape(len(steps), layers, heads)


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only."""

    varies: Mapping[str, str]  # the values in which it differs from other groups
    runs: Sequence[Run]

    @property
    def label(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.varies.items()) or self.runs[0].name

    @property
    def done(self) -> list[Run]:
        return [run for run in self.runs if run.is_done]

    @property
    def span_kind(self) -> str:
        return str(self.runs[0].values["span"])

    @property
    def span_limit(self) -> int:
        limit = self.runs[0].values["span.limit"]
        assert isinstance(limit, int)
        return limit

    @property
    def valid_bpc(self) -> float | None:
        """On all of valid, the mean over the seeds that are done."""
        return self._mean(lambda run: run.last["final/valid_bpc"])

    @property
    def test_bpc(self) -> float | None:
        return self._mean(lambda run: run.last["final/test_bpc"])

    @property
    def spread(self) -> float | None:
        """Standard deviation of the valid bpc over seeds; None for fewer than two."""
        found = [run.last["final/valid_bpc"] for run in self.done]
        return stdev(found) if len(found) > 1 else None

    @property
    def span_mean(self) -> float | None:
        return self._mean(lambda run: run.last["span/mean"])

    @property
    def span_max(self) -> float | None:
        return self._mean(lambda run: run.last["span/max"])

    @property
    def macs_per_token(self) -> float | None:
        """Multiply-accumulates a token, as the paper counts."""
        return self._mean(lambda run: run.last["flops/paper_macs_per_token"])

    @property
    def flops_per_token(self) -> float | None:
        """FLOPs a token that the forward pass of the last update really executed."""
        return self._mean(lambda run: run.last["flops/executed_per_token"])

    def _mean(self, figure: Callable[[Run], float]) -> float | None:
        return fmean(figure(run) for run in self.done) if self.done else None

    def curve(self) -> Curve | None:
        """The mean over the runs, as far as all of them got; None before the first evaluation."""
        points = min(len(run.evaluations) for run in self.runs)
        if not points:
            return None
        columns = {
            key: np.array([[row[key] for row in run.evaluations[:points]] for run in self.runs])
            for key in ("step", "tokens", "flops/executed_training", "val/bpc")
        }
        return Curve(
            steps=columns["step"][0],
            tokens=columns["tokens"].mean(0),
            flops=columns["flops/executed_training"].mean(0),
            bpc=columns["val/bpc"].mean(0),
            spread=columns["val/bpc"].std(0, ddof=min(1, len(self.runs) - 1)),
        )


@dataclass(frozen=True)
class Comparison:
    """All that a report shows."""

    title: str
    runs: Sequence[Run]
    groups: Sequence[Group]

    @property
    def varied(self) -> list[str]:
        """The keys in which groups differ."""
        return list(dict.fromkeys(key for group in self.groups for key in group.varies))

    @property
    def done(self) -> list[Group]:
        """Groups with a result, the best first."""
        found = [group for group in self.groups if group.valid_bpc is not None]
        return sorted(found, key=lambda group: group.valid_bpc or 0.0)

    def cheapest_within(self, margin: float) -> Group | None:
        """The group with the fewest FLOPs a token of those within `margin` bpc of the best."""
        if not self.done:
            return None
        best = self.done[0].valid_bpc or 0.0
        close = [group for group in self.done if (group.valid_bpc or 0.0) <= best + margin]
        return min(close, key=lambda group: group.macs_per_token or 0.0)

    def pareto_front(self) -> list[Group]:
        """Groups that no other beats in bpc without costing more, the cheapest first."""
        front: list[Group] = []
        for group in sorted(
            self.done, key=lambda group: (group.macs_per_token or 0.0, group.valid_bpc or 0.0)
        ):
            if not front or (group.valid_bpc or 0.0) < (front[-1].valid_bpc or 0.0):
                front.append(group)
        return front


def compare(title: str, runs: Mapping[Path, Mapping[str, str]]) -> Comparison:
    """Read run folders.

    Args:
        title: of the sweep.
        runs: folders, and the values in which each differs from the others as far as known.

    Raises:
        RunError: some were submitted to SLURM, which does not answer.
    """
    read = [
        Run(path, state, flat(read_values(path)), RunFolder(path).rows())
        for path, state in zip(runs, read_states(runs), strict=True)
    ]
    groups: dict[str, list[int]] = {}
    for index, run in enumerate(read):
        groups.setdefault(_identity(run), []).append(index)
    firsts = [indices[0] for indices in groups.values()]
    given = [{k: v for k, v in varies.items() if k != _SEED} for varies in runs.values()]
    told = [given[first] for first in firsts]
    if len({tuple(sorted(varies.items())) for varies in told}) < len(told):
        told = _differences([read[first] for first in firsts])
    return Comparison(
        title,
        read,
        [
            Group(varies, [read[index] for index in indices])
            for varies, indices in zip(told, groups.values(), strict=True)
        ],
    )


def _identity(run: Run) -> str:
    """The same for runs that differ in their seed only."""
    values = {key: value for key, value in run.values.items() if key not in _NOT_COMPARED}
    return json.dumps(values, sort_keys=True, default=str)


def _differences(runs: Sequence[Run]) -> list[dict[str, str]]:
    """The values of each run in which not all agree."""
    keys = dict.fromkeys(key for run in runs for key in run.values if key not in _NOT_COMPARED)
    varied = [key for key in keys if len({str(run.values.get(key)) for run in runs}) > 1]
    return [{key: str(run.values[key]) for key in varied if key in run.values} for run in runs]
