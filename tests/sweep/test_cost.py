"""What a sweep may cost is told, and can be refused, before anything is submitted."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch

from adaspan.nn.flops import Shape, paper_macs_per_token
from adaspan.sweep.cost import training_flops
from tests.conftest import Launch, compose_run
from tests.train.test_trainer import trainer_of

# The text is long enough for full caches, which 30 updates fill.
FULL = ("train.block_size=16", "train.steps=30", "train.micro_batches=2", "data=recall")


@pytest.mark.slow
@pytest.mark.parametrize(
    "span", [("span=fixed",), ("span=dynamic", "span.initial_bias=40")], ids=lambda span: span[0]
)
def test_no_update_executes_more_than_is_said_before_the_run(
    tiny: tuple[str, ...], span: tuple[str, ...]
) -> None:
    own = [o for o in tiny if not o.startswith(("span.", "data=", "data.path"))]
    trainer = trainer_of(*own, *FULL, *span, "span.limit=200")
    most, of_updates = training_flops(trainer.config) / 30, []
    for _ in range(30):
        before = trainer.flops.total
        trainer.update()
        trainer.take_losses()
        of_updates.append(trainer.flops.total - before)
    assert max(of_updates) <= most < 1.5 * max(of_updates)


@pytest.mark.slow
def test_words_of_the_dearest_cluster_cost_no_more_than_is_said(tiny: tuple[str, ...]) -> None:
    words = ("data.symbols=words", "model.cutoffs=[6,20]", "model.divisor=2")
    trainer = trainer_of(*tiny, *words)
    embedding = trainer.model.embedding
    costs = [
        trainer.model.io_macs(torch.tensor([[token]]), torch.tensor([[target]]))
        for token, target in product((0, 6, 20), repeat=2)
    ]
    assert embedding.clusters.most_macs() == max(costs)


@pytest.mark.parametrize(
    ("experiment", "terms"),
    [("text8", 1.54), ("enwik8_small", 1.33), ("wiki103_pers", 1.55)],
)
def test_the_cache_and_the_output_layer_are_counted(experiment: str, terms: float) -> None:
    """Beside three times a forward pass by the paper's count with positions."""
    run = compose_run(f"experiment={experiment}")
    model, train = run.model, run.train
    shape = Shape(model.layers, model.dim, model.heads, model.ffn_dim, 0, model.persistent)
    paper = 6 * paper_macs_per_token(shape, run.span.limit, position=True)
    tokens = train.steps * train.batch_size * train.block_size
    assert training_flops(run) / (paper * tokens) >= terms


@pytest.mark.slow
def test_a_preview_says_when_it_cannot_know_the_output_layer(
    text: Path, launch_here: Launch
) -> None:
    asked = ("-m", "span.limit=16,32", "data=text", f"data.path={text}")
    for symbols, said in (("bytes", False), ("words", True)):
        end = launch_here(*asked, f"data.symbols={symbols}", "hydra.launcher.dry_run=true")
        assert end.returncode == 0, end.stderr
        assert ("without the output layer" in " ".join(end.stdout.split())) is said


@pytest.mark.slow
def test_a_sweep_that_may_cost_too_much_is_refused(launch_here: Launch) -> None:
    asked = ("-m", "span.limit=512,1024", "hydra/launcher=slurm", "hydra.launcher.dry_run=true")
    end = launch_here(*asked, "hydra.launcher.max_gpu_hours=1e-6", "hydra.launcher.gpu_tflops=50")
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line.startswith("adaspan: error: hydra.launcher.max_gpu_hours=1e-06: the sweep may take")
    assert launch_here(*asked, "hydra.launcher.max_gpu_hours=1e9").returncode == 0


@pytest.mark.slow
def test_the_preview_shows_every_run_its_cost_and_what_sbatch_is_given(launch_here: Launch) -> None:
    end = launch_here(
        "-m", "span.limit=512,1024", "hydra/launcher=slurm", "hydra.launcher.dry_run=true"
    )
    assert end.returncode == 0, end.stderr
    for shown in ("span.limit", "waiting", "GPU-hours", "#SBATCH --array=0-1%2", "#SBATCH --time"):
        assert shown in end.stdout
