"""What a search is to look at must be a figure that every run has at its end."""

from __future__ import annotations

import pytest

from adaspan.sweep.results import _value, objective_mistakes
from tests.conftest import Launch


@pytest.mark.parametrize("objectives", [None, ["final/valid_bpb", "flops/paper_macs_per_token"]])
def test_figures_of_the_end_are_taken(objectives: list[str] | None) -> None:
    assert list(objective_mistakes(objectives)) == []


def test_wrong_objectives_are_refused_with_what_there_is(launch: Launch) -> None:
    (none,) = objective_mistakes([])
    assert none.startswith("hydra.launcher.objectives=[]: a search needs at least one")
    for key in ("final/bpb", "perf/mfu"):
        (line,) = objective_mistakes([key])
        assert line.startswith(f"hydra.launcher.objectives={key}: no such figure; one of ")
        assert "final/valid_bpb" in line
    for key in ("step", "best/step"):
        (line,) = objective_mistakes([key])
        assert line.startswith(
            f"hydra.launcher.objectives={key}: neither lower nor higher is better; one of final/val"
        )
    (line,) = objective_mistakes(["data/entropie_bpb"])
    assert line.endswith("=data/entropie_bpb: no such figure; did you mean data/entropy_bpb?")
    end = launch("-m", "train.seed=1,2", "hydra.launcher.objectives=[spam]")
    assert end.returncode == 2, "before anything is trained"
    assert end.stderr.startswith("adaspan: error: hydra.launcher.objectives=spam: no such figure")


def test_an_objective_may_be_a_score_in_whichever_measure() -> None:
    assert list(objective_mistakes(["final/valid", "final/test_ppl"])) == []
    row = {"step": 9, "final/valid_ppl": 20.5, "span/mean": 3.0}
    assert _value(row, "final/valid") == 20.5
    assert _value(row, "span/mean") == 3.0
    assert _value(row, "final/valid_bpb") is None
