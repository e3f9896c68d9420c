"""Figures of one's own stand in the rows, and looking at them changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adaspan.config.kinds.registry import KINDS
from adaspan.errors import KindError
from adaspan.train.rows import Evaluation, check_own_figures, own_figures
from tests.conftest import Launch, compose_run
from tests.train.test_trainer import corpus_of, losses, trainer_of


@pytest.mark.slow
def test_figures_of_ones_own_see_the_model_at_rest_and_leave_no_trace(
    tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(evaluation: Evaluation) -> torch.Tensor:
        assert not evaluation.model.training
        assert not torch.is_grad_enabled()
        assert evaluation.spans_LH.shape == (2, 2)
        return torch.rand(()) + len(evaluation.valid)

    valid = corpus_of(compose_run(*tiny)).valid
    own = {"own/noisy": noisy, "own/never": lambda evaluation: math.nan}
    monkeypatch.setitem(KINDS, "figure", own)
    looked_at = trainer_of(*tiny, "model.dropout=0.5")
    before = losses(looked_at, 2)
    row = own_figures(looked_at, valid)
    assert row.keys() == {"own/noisy"}
    assert len(valid) <= row["own/noisy"] < len(valid) + 1
    after = losses(looked_at, 2)
    left_alone = trainer_of(*tiny, "model.dropout=0.5")
    assert torch.equal(losses(left_alone, 2), before)
    assert torch.equal(losses(left_alone, 2), after)


@pytest.mark.slow
@pytest.mark.parametrize("fails", [False, True])
def test_gradients_of_a_figure_do_not_flow_into_the_next_update(
    tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    def gradient(evaluation: Evaluation) -> torch.Tensor:
        tokens_BM = torch.from_numpy(evaluation.valid[None, :9].astype("int64"))
        with torch.enable_grad():
            evaluation.model(tokens_BM).log_probs_BMV.exp().square().sum().backward()
        weight = evaluation.model.embedding.weight
        assert weight.grad is not None
        if fails:
            raise ValueError("after the gradients are there")
        return weight.grad.norm()

    valid = corpus_of(compose_run(*tiny)).valid
    monkeypatch.setitem(KINDS, "figure", {"own/gradient": gradient})
    looked_at = trainer_of(*tiny)
    before = losses(looked_at, 1)
    row = own_figures(looked_at, valid)
    assert fails or row["own/gradient"] > 0
    after = losses(looked_at, 2)
    left_alone = trainer_of(*tiny)
    assert torch.equal(losses(left_alone, 1), before)
    assert torch.equal(losses(left_alone, 2), after)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("figure", "line"),
    [
        (lambda evaluation: 1 / 0, "ZeroDivisionError: division by zero (test_rows.py, line "),
        (
            lambda evaluation: torch.stack([]),
            "RuntimeError: stack expects a non-empty Te",
        ),
        (lambda evaluation: None, "must give a number, gave None"),
        (lambda evaluation: "high", "must give a number, gave a str"),
        (lambda evaluation: evaluation.spans_LH, "must give a number, gave a Tensor"),
    ],
)
def test_a_figure_that_fails_is_refused_before_the_first_update_and_left_out_after_it(
    tiny: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    figure: Callable[[Evaluation], Any],
    line: str,
) -> None:
    own = {"own/fails": figure, "own/heads": lambda evaluation: evaluation.spans_LH.numel()}
    monkeypatch.setitem(KINDS, "figure", own)
    trainer, valid = trainer_of(*tiny), corpus_of(compose_run(*tiny)).valid
    with pytest.raises(KindError) as refused:
        check_own_figures(trainer, valid)
    assert str(refused.value).startswith(f"figure own/fails: {line}")
    assert own_figures(trainer, valid) == {"own/heads": 4}
    assert caplog.messages == [f"{refused.value}; left out"]
    assert trainer.model.training


def test_a_figure_that_fails_at_once_ends_the_run_before_it_begins(
    tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, launch_here: Launch, tmp_path: Path
) -> None:
    monkeypatch.setitem(KINDS, "figure", {"own/fails": lambda evaluation: 1 / 0})
    end = launch_here(*tiny)
    assert end.returncode == 2
    (error,) = end.stderr.splitlines()
    assert error.startswith("adaspan: error: figure own/fails: ZeroDivisionError: division by zero")
    assert not list((tmp_path / "runs").glob("*/metrics.jsonl"))
    (log,) = (tmp_path / "runs").glob("*/log.txt")
    assert error.endswith(f"; the trace is in runs/{log.parent.name}/log.txt")
    assert log.read_text().endswith("ZeroDivisionError: division by zero\n")
