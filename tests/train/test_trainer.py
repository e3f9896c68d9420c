"""One update: what it adds up to, what it counts, and what stops it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adaspan.config.kinds.data import corpus_of as prepared
from adaspan.config.schema import RunConfig
from adaspan.data import Corpus
from adaspan.errors import RunError
from adaspan.nn.attention import ANYWHERE
from adaspan.nn.flops import paper_macs_per_token
from adaspan.nn.span import AdaptiveSpan
from adaspan.train.distributed import Processes
from adaspan.train.trainer import Trainer
from tests.conftest import compose_run

CPU = torch.device("cpu")


def corpus_of(run: RunConfig) -> Corpus:
    return prepared(run.data, Path(run.data_dir))


def trainer_of(*overrides: str) -> Trainer:
    run = compose_run(*overrides)
    return Trainer(run, corpus_of(run), CPU, Processes())


def losses(trainer: Trainer, updates: int) -> Tensor:
    for _ in range(updates):
        trainer.update()
    return trainer.take_losses()


@pytest.mark.slow
@pytest.mark.parametrize("span", ["adaptive", "fixed", "dynamic"])
def test_an_update_reads_the_spans_once_unless_only_a_layers_input_tells_them(
    tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, span: str
) -> None:
    plain = [o for o in tiny if not o.startswith(("span.ramp", "span.initial"))]
    trainer = trainer_of(*plain, f"span={span}", "train.micro_batches=4")
    reads = []
    for name in ("tolist", "item", "cpu", "numpy", "__bool__", "__int__", "__float__"):
        real = getattr(Tensor, name)

        def counted(tensor: Tensor, *rest: Any, name: str = name, real: Any = real) -> Any:
            reads.append(name)
            return real(tensor, *rest)

        monkeypatch.setattr(Tensor, name, counted)
    trainer.update()
    layers, micro_batches = 2, 4
    assert reads == ["tolist"] * (layers * micro_batches if span == "dynamic" else 1)


@pytest.mark.slow
@pytest.mark.parametrize("span", ["adaptive", "fixed", "dynamic"])
def test_micro_batches_add_up_to_the_undivided_batch(tiny: tuple[str, ...], span: str) -> None:
    plain = [o for o in tiny if not o.startswith(("span.ramp", "span.initial", "model.dropout"))]
    curves = [
        losses(trainer_of(*plain, f"span={span}", f"train.micro_batches={pieces}"), 25)
        for pieces in (1, 2, 4)
    ]
    torch.testing.assert_close(curves[1], curves[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(curves[2], curves[0], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_same_seed_same_bits_another_seed_another_run(tiny: tuple[str, ...]) -> None:
    first, again, other = (
        losses(trainer_of(*tiny, f"train.seed={seed}"), 20) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.slow
def test_the_penalty_shortens_spans_and_does_not_count_as_loss(tiny: tuple[str, ...]) -> None:
    tiny = (*tiny, "model.dropout=0", "optimizer.grad_clip=0")
    free = trainer_of(*tiny, "span.loss_coefficient=0")
    taxed = trainer_of(*tiny, "span.loss_coefficient=10")
    first = [losses(trainer, 1).item() for trainer in (free, taxed)]
    assert first[0] == first[1]
    losses(free, 20)
    losses(taxed, 20)
    assert taxed.spans_LH.mean() < free.spans_LH.mean()


BUDGET = (
    "span=budget",
    "span.limit=64",
    "span.ramp=4",
    "span.target=12",
    "span.target_after=80",
    "model.layers=2",
    "model.dim=16",
    "model.heads=2",
    "train.batch_size=4",
    "train.block_size=8",
    "train.steps=120",
    "train.device=cpu",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "start", "share"),
    [
        ("adagrad", 0.0, "head"),
        ("adagrad", 1.0, "head"),
        ("adagrad", "null", "model"),
        ("adam", 0.0, "head"),
        ("adam", 1.0, "head"),
        ("sgd", 0.0, "head"),
        ("sgd", 1.0, "layer"),
    ],
)
def test_a_budget_is_met_from_below_and_above_under_every_optimizer(
    tiny: tuple[str, ...], optimizer: str, start: float | str, share: str
) -> None:
    data = [o for o in tiny if o.startswith("data")]
    own = (f"optimizer={optimizer}", f"span.share={share}", f"span.initial_fraction={start}")
    trainer = trainer_of(*data, *BUDGET, *own, "optimizer.warmup_steps=20")
    losses(trainer, 80)
    for _ in range(40):
        assert trainer.spans_LH.mean().item() == pytest.approx(12, rel=0.05)
        trainer.update()


def test_flops_that_spans_may_take_become_a_mean_span(tiny: tuple[str, ...]) -> None:
    data = [o for o in tiny if o.startswith("data")]
    own = [o for o in BUDGET if not o.startswith("span.target=")]
    shape = trainer_of(*data, *BUDGET).shape
    budget = 2 * paper_macs_per_token(shape, 20)
    trainer = trainer_of(*data, *own, f"span.target_flops={budget}")
    assert trainer.spans_LH.mean().item() == pytest.approx(20)
    losses(trainer, 5)
    mean = trainer.spans_LH.mean().item()
    assert 2 * paper_macs_per_token(shape, mean) == pytest.approx(budget, rel=0.05)


def test_weights_whose_spans_are_on_their_way_to_a_budget_are_not_the_best(
    tiny: tuple[str, ...],
) -> None:
    data = [o for o in tiny if o.startswith("data")]
    trainer = trainer_of(*data, *BUDGET, "span.target_after=4", "span.initial_fraction=1")
    noted = []
    for score in (1.0, 3.0, 2.0, 2.5):
        losses(trainer, 2)
        noted.append(trainer.note_if_best(score))
    assert noted == [True, True, True, False]
    assert (trainer.best_score, trainer.best_step) == (2.0, 6)


def test_spans_stay_between_zero_and_the_limit(tiny: tuple[str, ...]) -> None:
    trainer = trainer_of(*tiny, "optimizer.lr=5", "optimizer.grad_clip=0", "optimizer=adagrad")
    for _ in range(10):
        trainer.update()
        assert trainer.spans_LH.min() >= 0
        assert trainer.spans_LH.max() <= 24


def test_tokens_are_counted(tiny: tuple[str, ...]) -> None:
    trainer = trainer_of(*tiny)
    losses(trainer, 5)
    assert trainer.tokens == 5 * 4 * 8


def test_the_first_update_has_the_first_part_of_the_warm_up(tiny: tuple[str, ...]) -> None:
    trainer = trainer_of(*tiny, "optimizer.warmup_steps=4", "optimizer.lr=0.08")
    rates = []
    for _ in range(5):
        trainer.update()
        rates.append(trainer.rate)
    assert rates == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.08])


def test_a_loss_that_is_not_finite_names_step_and_learning_rate(tiny: tuple[str, ...]) -> None:
    trainer = trainer_of(*tiny, "optimizer=sgd", "optimizer.lr=1e30", "optimizer.grad_clip=0")
    for _ in range(5):
        trainer.update()
    with pytest.raises(RunError, match=r"^step \d: the loss is nan \(learning rate [\d.e+]+\)"):
        trainer.take_losses()


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.slow
@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize(("fractions", "updates"), [(None, 20), ([0.0, 0.02, 0.9, 0.3], 7)])
def test_the_default_run_learns_the_same_with_every_attention(
    tmp_path: Path, fractions: list[float] | None, updates: int
) -> None:
    """As `python launch.py` has it, and once more with heads that are far apart.

    In float64, because the first updates make much of a last digit.
    """
    curves, spans = [], []
    for attention in ANYWHERE:
        trainer = trainer_of(f"train.attention={attention}", f"data_dir={tmp_path}")
        for span in trainer.model.spans:
            assert isinstance(span, AdaptiveSpan)
            if fractions:
                span.fraction.data = torch.tensor(fractions)
        curves.append(losses(trainer, updates))
        spans.append(trainer.spans_LH)
    assert curves[0][-1] < curves[0][0] - 0.5
    for curve, spans_LH in zip(curves[1:], spans[1:], strict=True):
        torch.testing.assert_close(curve, curves[0], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(spans_LH, spans[0], rtol=1e-6, atol=1e-4)


@pytest.mark.slow
def test_bfloat16_trains_alike(tiny: tuple[str, ...]) -> None:
    exact = losses(trainer_of(*tiny), 20)
    rough = losses(trainer_of(*tiny, "train.precision=bfloat16"), 20)
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:The .grad attribute"
)  # torch's own
def test_a_compiled_model_trains_alike(tiny: tuple[str, ...]) -> None:
    small = [o for o in tiny if not o.startswith(("model.", "train.micro"))]
    small += ["model.layers=1", "model.dim=16", "model.heads=2"]
    eager = losses(trainer_of(*small), 6)
    compiled = losses(trainer_of(*small, "train.compile=true"), 6)
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-4)
