"""Sweeps that nobody trained: what runs of given scores would have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from adaspan.report.comparison import Comparison
from adaspan.report.groups import Group, Run
from adaspan.runs.failures import State
from adaspan.status.state import RunState

STEPS = 10


def run(
    scores: Mapping[str, float], varies: Mapping[str, str], data: str = "a text", seed: int = 1
) -> Run:
    """A run that is done.

    Args:
        scores: figures of its rows beside the usual ones; `final/valid_bpb` among them.
        varies: the values in which it differs.
        data: the fingerprint of its text.
        seed: of the run.
    """
    name = "-".join(varies.values()) + f"-{seed}"
    state = RunState(name, dict(varies), State.DONE, step=STEPS, steps=STEPS)
    values = {"span": "adaptive", "span.limit": 32, "data": "text", "train.seed": seed, **varies}
    usual = {
        "step": STEPS,
        "tokens": 100,
        "valid/bpb": 2.0,
        "span/mean": 8.0,
        "flops/executed_per_token": 1000.0,
        "flops/executed_training": 1e6,
        "flops/paper_macs_per_token": 400.0,
    }
    final = {"step": STEPS, "final/test_bpb": 2.0, **scores}
    return Run(Path(name), state, values, data, [usual | {"valid/bpb": 2.0}, final])


def group(name: str, scores: Sequence[float], flops: float = 1000.0, data: str = "a text") -> Group:
    """A configuration whose seeds have these scores, in bits per byte."""
    varies = {"model.dim": name}
    runs = [
        run({"final/valid_bpb": score, "flops/executed_per_token": flops}, varies, data, seed)
        for seed, score in enumerate(scores, 1)
    ]
    return Group(varies, runs)


def sweep(*groups: Group) -> Comparison:
    """These configurations side by side."""
    return Comparison("made", [run for one in groups for run in one.runs], groups, [])
