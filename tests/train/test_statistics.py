"""Rows say what the loss is made of, and how far clipping held weights and spans back."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean, median

import pytest
import torch
from torch import Tensor

from adaspan.nn.span import AdaptiveSpan
from adaspan.runs.figures import Row
from adaspan.train.state import resume_from, state_of
from adaspan.train.trainer import Trainer
from tests.train.test_trainer import losses, trainer_of

PULLS = {"gradient/spans_prediction_norm", "gradient/spans_penalty_norm"}
QUIET = ("model.dropout=0", "train.micro_batches=1")


def gradients(trainer: Trainer) -> tuple[list[Tensor], list[Tensor], float]:
    """Of weights and of spans at the next update, and the penalty, computed apart from it."""
    block = trainer.streams.next_block()
    trainer.streams.cursor.offset -= block.inputs_BM.shape[1]
    output = trainer.model(block.inputs_BM, trainer.caches, targets_BM=block.targets_BM)
    trainer.model.zero_grad()
    (output.nats_BM.mean() + output.penalty).backward()
    spans = [span.fraction for span in trainer.model.spans if isinstance(span, AdaptiveSpan)]
    of_spans = {id(fraction) for fraction in spans}
    weights = [p for p in trainer.model.parameters() if id(p) not in of_spans]
    found = [[p.grad.clone() for p in part if p.grad is not None] for part in (weights, spans)]
    trainer.model.zero_grad()
    return found[0], found[1], output.penalty.item()


def norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(tensor.square().sum().item() for tensor in tensors))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
def test_a_row_has_penalty_norms_and_what_clipping_left(
    tiny: tuple[str, ...], optimizer: str
) -> None:
    clip = 0.05
    trainer = trainer_of(
        *tiny,
        *QUIET,
        f"optimizer={optimizer}",
        f"optimizer.grad_clip={clip}",
        "span.loss_coefficient=1e-3",
    )
    updates = 3
    rows: list[Row] = []
    for _ in range(updates):
        weights, spans, penalty = gradients(trainer)
        every = norm([*weights, *spans])
        parts = {"weights": weights, "spans": spans}
        row: Row = {"train/penalty": penalty}
        for name, part in parts.items():
            lengths = [norm([one]) if optimizer == "adagrad" else every for one in part]
            row[f"gradient/{name}_norm"] = norm(part)
            row[f"gradient/{name}_clipped"] = sum(one > clip for one in lengths) / len(part)
            row[f"gradient/{name}_clipped_to"] = sum(min(1, clip / one) for one in lengths) / len(
                part
            )
        rows.append(row)
        trainer.update()
    expected = {
        key: (median if key.endswith("_norm") else fmean)(row[key] for row in rows)
        for key in rows[0]
    }
    row = trainer.statistics.take()
    assert {key: row[key] for key in expected} == pytest.approx(expected, rel=1e-4)
    assert row.keys() - expected.keys() == PULLS


def pulls(trainer: Trainer) -> dict[str, float]:
    """At the spans, by the prediction and by the penalty, at the next update, by autograd."""
    block = trainer.streams.next_block()
    trainer.streams.cursor.offset -= block.inputs_BM.shape[1]
    output = trainer.model(block.inputs_BM, trainer.caches, targets_BM=block.targets_BM)
    spans = list({p: None for span in trainer.model.spans for p in span.parameters()})
    parts = {"prediction": output.nats_BM.mean(), "penalty": output.penalty}
    return {
        f"gradient/spans_{name}_norm": norm(
            list(torch.autograd.grad(loss, spans, retain_graph=True, materialize_grads=True))
        )
        for name, loss in parts.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "span",
    [
        ("span.share=head",),
        ("span.share=layer",),
        ("span.share=model",),
        ("span.penalty_after=2",),
        ("span=budget", "span.target=5", "span.target_after=10"),
    ],
    ids=lambda span: span[0],
)
def test_a_row_tells_what_the_prediction_gives_to_spans_from_what_the_penalty_gives(
    tiny: tuple[str, ...], span: tuple[str, ...]
) -> None:
    trainer = trainer_of(*tiny, *QUIET, *span, "optimizer.lr=0.1")
    for _ in range(4):
        expected = pulls(trainer)
        trainer.update()
        row = trainer.statistics.take()
        assert {key: row[key] for key in PULLS} == pytest.approx(expected, rel=1e-3, abs=1e-9)
    assert all(expected.values())


def test_only_adaptive_spans_have_a_penalty_whose_pull_is_known(tiny: tuple[str, ...]) -> None:
    plain = [o for o in tiny if not o.startswith("span.initial")]
    trainer = trainer_of(*plain, "span=dynamic")
    trainer.update()
    row = trainer.statistics.take()
    assert row["gradient/spans_norm"] > 0
    assert not PULLS & row.keys()


def test_a_checkpoint_of_before_pulls_were_kept_is_gone_on_with(tiny: tuple[str, ...]) -> None:
    trainer = trainer_of(*tiny)
    trainer.update()
    state = trainer.statistics.state()
    state["norms"] = state["norms"][:, : len(list(trainer.model.parameters()))]
    before = trainer.statistics.take()
    trainer.statistics.load(state)
    assert trainer.statistics.take() == {k: v for k, v in before.items() if k not in PULLS}


@pytest.mark.slow
def test_a_larger_penalty_is_clipped_more_and_so_moves_spans_no_faster(
    tiny: tuple[str, ...],
) -> None:
    rows = []
    for coefficient in ("1e-3", "1"):
        trainer = trainer_of(*tiny, *QUIET, f"span.loss_coefficient={coefficient}")
        losses(trainer, 10)
        rows.append(trainer.statistics.take() | {"span": trainer.spans_LH.mean().item()})
    mild, strong = rows
    assert strong["gradient/spans_norm"] > 100 * mild["gradient/spans_norm"]
    assert strong["gradient/spans_clipped"] == 1
    assert strong["gradient/spans_clipped_to"] < 0.01 < mild["gradient/spans_clipped_to"]
    assert strong["span"] > mild["span"]


def test_fixed_spans_have_no_gradient_and_no_clipping_is_none(tiny: tuple[str, ...]) -> None:
    fixed = [o for o in tiny if not o.startswith(("span.ramp", "span.initial"))]
    trainer = trainer_of(*fixed, "span=fixed", "optimizer.grad_clip=0")
    trainer.update()
    row = trainer.statistics.take()
    assert not [key for key in row if "spans" in key]
    assert (row["gradient/weights_clipped"], row["gradient/weights_clipped_to"]) == (0, 1)
    assert row["train/penalty"] == 0


@pytest.mark.slow
def test_what_was_noted_before_a_checkpoint_is_in_the_row_after_it(
    tiny: tuple[str, ...], tmp_path: Path
) -> None:
    whole = trainer_of(*tiny)
    losses(whole, 6)
    stopped = trainer_of(*tiny)
    for _ in range(4):
        stopped.update()
    state = state_of(stopped)
    assert state is not None
    torch.save(state, tmp_path / "state.pt")
    resumed = trainer_of(*tiny)
    resume_from(torch.load(tmp_path / "state.pt", weights_only=True), resumed)
    losses(resumed, 2)
    assert resumed.statistics.take() == whole.statistics.take()


def test_a_gradient_too_large_for_a_number_leaves_its_figures_out(tiny: tuple[str, ...]) -> None:
    trainer = trainer_of(*tiny)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.full_like(parameter, 1e30)  # its square is infinite
    trainer.statistics.note(torch.tensor(0.5), trainer.statistics.norms())
    row = trainer.statistics.take()
    assert row["train/penalty"] == 0.5
    assert "gradient/spans_norm" not in row
    assert (row["gradient/spans_clipped"], row["gradient/spans_clipped_to"]) == (1, 0)
