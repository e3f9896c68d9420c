"""What a sweep may cost is told, and can be refused, before anything is submitted."""

from __future__ import annotations

import pytest

from adaspan.sweep.cost import training_flops
from tests.conftest import Launch, compose_run


def test_training_costs_three_times_a_forward_pass_of_every_token() -> None:
    run = compose_run("experiment=text8", "span=fixed", "span.limit=1024")
    # Per token and layer: four projections and the two of the feed-forward, then keys, positions
    # and values of 1,024 tokens.
    macs = 12 * (4 * 512**2 + 2 * 512 * 2048 + 3 * 1024 * 512)
    tokens = run.train.steps * run.train.batch_size * run.train.block_size
    assert training_flops(run) == pytest.approx(6 * macs * tokens, rel=0.01)


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
