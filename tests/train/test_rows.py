"""Figures of one's own stand in the rows, and looking at them changes nothing."""

from __future__ import annotations

import math

import pytest
import torch

from adaspan.config.kinds.registry import KINDS
from adaspan.train.rows import Evaluation, own_figures
from tests.conftest import compose_run
from tests.train.test_trainer import corpus_of, losses, trainer_of


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
