"""What only a GPU can show. CI has none: `pytest tests/gpu` on a machine that has."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from adaspan.config.kinds.span import AdaptiveSpanConfig
from adaspan.data import prepare
from adaspan.errors import NoMemoryError
from adaspan.nn.attention import ANYWHERE
from adaspan.nn.multi_head_attention import MultiHeadAttention
from adaspan.train.distributed import Processes
from adaspan.train.standing import StandingStep
from adaspan.train.trainer import Trainer
from tests.conftest import Launch, compose_run
from tests.nn.attention.kernels import test_function as kernels
from tests.nn.attention.test_implementations import FAST, farthest, random_case, run
from tests.nn.test_flops import compare_with_torch
from tests.processes import (
    FindFolder,
    assert_same,
    final_state,
    kill,
    rows,
    start,
    status,
    step_so_far,
    train_here,
    wait_for_step,
)
from tests.train.test_distributed import run_two

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
    pytest.mark.slow,  # compilers are started
]

GPU = torch.device("cuda", 0)


@pytest.fixture
def tiny_gpu(tiny: tuple[str, ...]) -> tuple[str, ...]:
    """The tiny run, where `train.device` is left to itself."""
    return tuple(o for o in tiny if not o.startswith("train.device"))


def trainer_of(*overrides: str, device: torch.device = GPU) -> Trainer:
    config = compose_run(*overrides)
    corpus = prepare(config.data.build(Path(config.data_dir)), Path(config.data_dir))
    return Trainer(config, corpus, device, Processes())


@pytest.mark.parametrize("implementation", FAST)
def test_attention_agrees_with_the_oracle_gradients_included(implementation: str) -> None:
    with GPU:
        for seed in range(40):
            case = random_case(seed)
            exact = run(case, torch.float64, "reference")
            assert exact[0].device == GPU
            found = run(case, torch.float64, implementation)
            assert all(far < 1e-10 for far in farthest(found, exact)), case


@pytest.mark.parametrize("name", kernels.CASES)
def test_kernels_agree_with_the_oracle_gradients_included(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adaspan.nn.attention.reference.TINY", 1e-300)
    with GPU:
        kernels.check(kernels.CASES[name], kernels.errors(kernels.CASES[name]))


@pytest.mark.parametrize("implementation", ANYWHERE)
def test_executed_flops_are_what_torch_counts(implementation: str) -> None:
    with GPU:
        compare_with_torch(
            AdaptiveSpanConfig(limit=400, ramp=5, loss_coefficient=0.1), 70, implementation
        )


@pytest.mark.parametrize("span", ["adaptive", "fixed", "dynamic"])
def test_losses_are_those_of_a_cpu(tiny: tuple[str, ...], span: str) -> None:
    """In float32, without dropout, whose random numbers differ."""
    plain = [o for o in tiny if not o.startswith(("span.ramp", "span.initial", "model.dropout"))]
    curves = []
    settings = (f"span={span}", "train.precision=float32", "optimizer=sgd", "optimizer.lr=0.5")
    for device in (torch.device("cpu"), GPU):
        trainer = trainer_of(*plain, *settings, device=device)
        for _ in range(25):
            trainer.update()
        curves.append(trainer.take_losses())
    torch.testing.assert_close(curves[1], curves[0], rtol=1e-4, atol=1e-4)


def test_a_gpu_is_used_unasked_in_bfloat16_where_it_has_it(
    tiny_gpu: tuple[str, ...], launch: Launch, run_folder: FindFolder
) -> None:
    end = launch(*tiny_gpu)
    assert end.returncode == 0, end.stderr
    precision = "bfloat16" if torch.cuda.is_bf16_supported(False) else "float32"
    assert re.search(rf"device  cuda:0 .* · {precision} · attention ", end.stdout), end.stdout
    assert status(run_folder())["state"] == "done"


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_a_run_killed_at_random_ends_as_if_undisturbed(
    tiny_gpu: tuple[str, ...],
    launch: Launch,
    tmp_path: Path,
    run_folder: FindFolder,
    precision: str,
) -> None:
    overrides = [*tiny_gpu, "train.steps=300", f"train.precision={precision}"]
    train_here(*overrides, f"output_dir={tmp_path / 'undisturbed'}")
    (undisturbed,) = (tmp_path / "undisturbed").iterdir()
    moments = random.Random(1)
    for _ in range(2):
        process = start(tmp_path, *overrides)
        wait_for_step(tmp_path, step_so_far(tmp_path) + moments.randint(20, 60), process)
        kill(process)
    end = launch(*overrides)
    assert end.returncode == 0, end.stderr
    assert "going on from step" in end.stdout
    assert rows(run_folder()) == rows(undisturbed)
    assert_same(final_state(run_folder()), final_state(undisturbed))


@pytest.fixture
def debug_mode_restored() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("span", ["adaptive", "fixed", "dynamic"])
@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "sgd"])
@pytest.mark.usefixtures("debug_mode_restored")
def test_an_update_waits_for_nothing_but_the_spans(
    tiny_gpu: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, span: str, optimizer: str
) -> None:
    plain = [
        o for o in tiny_gpu if not o.startswith(("span.ramp", "span.initial", "optimizer.warm"))
    ]
    trainer = trainer_of(*plain, f"span={span}", f"optimizer={optimizer}")
    trainer.update()  # what is made once may wait
    spans, groups_of = StandingStep._spans, MultiHeadAttention._groups_of

    def may_wait(waits: Callable[..., object]) -> Callable[..., object]:
        def waiting(*arguments: object) -> object:
            torch.cuda.set_sync_debug_mode("default")
            found = waits(*arguments)
            torch.cuda.set_sync_debug_mode("error")
            return found

        return waiting

    monkeypatch.setattr(StandingStep, "_spans", may_wait(spans))
    monkeypatch.setattr(MultiHeadAttention, "_groups_of", may_wait(groups_of))
    for _ in range(30):
        torch.cuda.set_sync_debug_mode("error")
        trainer.update()
    torch.cuda.set_sync_debug_mode("default")
    assert trainer.take_losses().isfinite().all()


def test_a_run_begun_on_a_gpu_goes_on_without_and_back(
    tiny_gpu: tuple[str, ...], tmp_path: Path, run_folder: FindFolder, launch: Launch
) -> None:
    overrides = [*tiny_gpu, "train.steps=300", "train.precision=float32"]
    process = start(tmp_path, *overrides)
    wait_for_step(tmp_path, 60, process)
    kill(process)
    end = launch(*overrides, "train.device=cpu")
    assert end.returncode == 0, end.stderr
    assert "going on from step" in end.stdout
    assert "cpu · float32" in end.stdout
    assert status(run_folder())["state"] == "done"
    *steps, final = [row["step"] for row in rows(run_folder())]
    assert steps == [i for i in range(1, 301) if i % 3 == 0 or i % 20 == 0]
    assert final == 300


def test_memory_that_does_not_suffice_is_named(
    tiny_gpu: tuple[str, ...], run_folder: FindFolder
) -> None:
    whole = torch.cuda.get_device_properties(GPU).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2**27 / whole, GPU)
    try:
        with pytest.raises(
            NoMemoryError, match=r"out of memory on cuda:0 \(tried to allocate [\d.]+ [GM]iB\): "
        ):
            train_here(*tiny_gpu, "model.dim=4096", "model.layers=4")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)
        torch.cuda.empty_cache()
    assert status(run_folder())["error"] == "out of memory"


def test_several_runs_at_once_share_the_gpus(
    tiny_gpu: tuple[str, ...], launch: Launch, tmp_path: Path
) -> None:
    end = launch("-m", *tiny_gpu, "train.seed=1,2", "hydra/launcher=local")
    assert end.returncode == 0, end.stderr
    outputs = [path.read_text() for path in (tmp_path / "runs").glob("*/output.txt")]
    assert len(outputs) == 2
    assert all("cuda:0" in output for output in outputs)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="this machine has no second GPU")
def test_two_gpus_have_the_losses_of_one(
    tiny_gpu: tuple[str, ...], tmp_path: Path, run_folder: FindFolder
) -> None:
    plain = [o for o in tiny_gpu if not o.startswith("model.dropout")]
    overrides = [*plain, "optimizer=sgd", "optimizer.lr=0.5", "train.precision=float32"]
    train_here(*overrides, f"output_dir={tmp_path / 'one'}")
    end = run_two(tmp_path, *overrides)
    assert end.returncode == 0, end.stderr
    (one,) = (tmp_path / "one").iterdir()
    for ours, theirs in zip(rows(run_folder()), rows(one), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-3)
