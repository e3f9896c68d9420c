"""What a sweep may cost, known before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from adaspan.config.kinds.span import DynamicSpanConfig
from adaspan.config.schema import ModelConfig, RunConfig
from adaspan.errors import UserError
from adaspan.nn.flops import Shape, most_executed_flops
from adaspan.status.state import read_states
from adaspan.sweep.plan import Job, Sweep
from adaspan.units import si


def training_flops(config: RunConfig) -> int:
    """The most FLOPs that the whole training can execute: every head looks back to the limit, every
    cache is full, every word is of the dearest cluster. Learned spans cost less.

    Where the number of symbols is not known before the text is read, embedding and output layer are
    left out. An attention of one's own is taken for a built-in one.
    """
    model, train = config.model, config.train
    gates = model.dim * model.heads if isinstance(config.span, DynamicSpanConfig) else 0
    shape = Shape(
        model.layers,
        model.dim,
        model.heads,
        model.ffn_dim,
        config.data.most_symbols() or 0,
        persistent=model.persistent,
        span_macs=gates,
    )
    streams = train.batch_size // train.micro_batches
    of_a_pass = most_executed_flops(
        shape,
        batch_size=streams,
        block_size=train.block_size,
        limit=config.span.limit,
        io_macs=_io_macs(model, shape.vocabulary_size) * streams * train.block_size,
    )
    return of_a_pass * train.micro_batches * train.steps


def _io_macs(model: ModelConfig, symbols: int) -> int:
    """Of embedding a token and predicting it, at most; 0 if the number of symbols is not known."""
    if not model.cutoffs or not symbols:
        return model.dim * symbols
    from adaspan.nn.adaptive_io import Clusters  # imports torch

    return Clusters(symbols, model.dim, model.cutoffs, model.divisor).most_macs()


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
    table = Table(title=sweep.name, caption=_caption(sweep))
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


def _caption(sweep: Sweep) -> str:
    known = all(job.config.data.most_symbols() for job in sweep.jobs)
    without = "" if known else ", without the output layer: how many symbols there are is not known"
    return f"FLOPs of training, at most: with all spans at the limit{without}"


def _written(hours: float) -> str:
    return f"{hours:.2f}" if hours >= 0.01 else "under 0.01"


def _hours(config: RunConfig, tflops: float) -> float:
    return training_flops(config) / (tflops * 1e12) / 3600
