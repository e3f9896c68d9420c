"""What a sweep may cost, known before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from adaspan.config.schema import RunConfig
from adaspan.errors import UserError
from adaspan.nn.flops import Shape, paper_macs_per_token
from adaspan.status.state import read_states
from adaspan.sweep.plan import Job, Sweep
from adaspan.units import si


def training_flops(config: RunConfig) -> float:
    """FLOPs of the whole training if every head looked back as far as the limit; learned spans cost
    less. A multiply-accumulate is two FLOPs, and the backward pass costs twice the forward's.
    """
    model = config.model
    shape = Shape(
        model.layers, model.dim, model.heads, model.ffn_dim, 0, persistent=model.persistent
    )
    tokens = config.train.steps * config.train.batch_size * config.train.block_size
    return 6 * paper_macs_per_token(shape, config.span.limit, position=True) * tokens


def gpu_hours(jobs: Sequence[Job], tflops: float) -> float:
    """Upper bound of the GPU-hours that runs take.

    Args:
        jobs: the runs.
        tflops: what one GPU sustains, in 10^12 FLOPs per second.
    """
    return sum(_hours(job.config, tflops) for job in jobs)


def check_cost(hours: float, tflops: float, most_hours: float | None) -> None:
    """Raise `UserError` if runs may take more GPU-hours than the limit."""
    if most_hours is not None and hours > most_hours:
        raise UserError(
            f"hydra.launcher.max_gpu_hours={most_hours:g}: the sweep may take {hours:.3g} "
            f"GPU-hours, at {tflops:g} TFLOP/s per GPU; raise the limit, or train less"
        )


def preview(sweep: Sweep, tflops: float | None = None) -> Table:
    """The runs of a sweep, and the most that each can cost."""
    table = Table(
        title=sweep.name, caption="FLOPs of training, at most: with all spans at the limit"
    )
    columns = dict.fromkeys(key for job in sweep.jobs for key in job.varies) or {"run": None}
    for column in columns:
        table.add_column(column, overflow="fold")
    table.add_column("state")
    table.add_column("FLOPs", justify="right")
    if tflops:
        table.add_column("GPU-hours", justify="right")
    states = read_states({job.folder.path: job.varies for job in sweep.jobs})
    for job, state in zip(sweep.jobs, states, strict=True):
        cells = [job.varies.get(column, "" if job.varies else job.name) for column in columns]
        cells += [state.state, si(training_flops(job.config))]
        table.add_row(*cells, *([_written(_hours(job.config, tflops))] if tflops else []))
    return table


def _written(hours: float) -> str:
    return f"{hours:.2f}" if hours >= 0.01 else "under 0.01"


def _hours(config: RunConfig, tflops: float) -> float:
    return training_flops(config) / (tflops * 1e12) / 3600
