"""What values are allowed: ranges and rules between keys, checked before anything starts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from adaspan.config.checks import at_least, one_of, probability, writable_folder
from adaspan.config.kinds.contract import mistakes_in, mistakes_of
from adaspan.config.kinds.registry import HOW_TO_ADD, KINDS
from adaspan.config.schema import (
    LocalLauncherConfig,
    ModelConfig,
    RunConfig,
    SlurmLauncherConfig,
    TrackingConfig,
    TrainConfig,
)
from adaspan.errors import UserError

_SEEDS = 2**32
# What W&B takes.
NAME_LENGTH = 128
TAG_LENGTH = 64
_LAUNCHER_MINIMA = {
    "processes": 1,
    "timeout_min": 1,
    "nodes": 1,
    "tasks_per_node": 1,
    "gpus_per_node": 0,
    "cpus_per_task": 1,
    "signal_delay_s": 0,
    "array_parallelism": 1,
    "max_gpu_hours": 0,
    "gpu_tflops": 1e-3,
}


def validate(config: RunConfig) -> None:
    """Check every value of a resolved configuration.

    Raises:
        UserError: one line a mistake, all of them at once, each `key=value: what is allowed`.
    """
    kinds = (config.span, config.data, config.optimizer)
    mistakes = [
        *_model(config.model),
        *(mistake for kind in kinds for mistake in mistakes_of(kind)),
        *_train(config.train),
        *_tracking(config.tracking),
    ]
    for key, value in (("output_dir", config.output_dir), ("data_dir", config.data_dir)):
        if not value:
            mistakes.append(f"{key}='': must name a folder")
        else:
            mistakes += writable_folder(key, Path(value).expanduser())
    # A value that is wrong by itself would be reported twice.
    mistakes = mistakes or [mistake for kind in kinds for mistake in mistakes_in(kind, config)]
    if mistakes:
        raise UserError("\n".join(mistakes))


def validate_shares(config: RunConfig, processes: int) -> None:
    """Check that processes which train a run together get equal shares of every batch.

    Raises:
        UserError: they cannot.
    """
    batch, parts = config.train.batch_size, config.train.micro_batches
    if batch % processes:
        raise UserError(f"train.batch_size={batch}: must be divisible by the {processes} processes")
    if processes > 1 and config.train.device.startswith("cuda:"):
        raise UserError(
            f"train.device={config.train.device}: the {processes} processes need a GPU each; "
            "use train.device=cuda"
        )
    share = batch // processes
    if share % parts:
        raise UserError(
            f"train.micro_batches={parts}: must divide each process's share, "
            f"{share} of train.batch_size={batch}"
        )


def launcher_mistakes(settings: LocalLauncherConfig | SlurmLauncherConfig) -> list[str]:
    """What is wrong with how a sweep is to be run, a line each."""
    mistakes: list[str] = []
    for key, least in _LAUNCHER_MINIMA.items():
        value = getattr(settings, key, None)
        if value is not None:
            mistakes += at_least(f"hydra.launcher.{key}", value, least)
    if isinstance(settings, SlurmLauncherConfig):
        delay, limit = settings.signal_delay_s, 60 * settings.timeout_min
        if delay >= limit > 0:
            mistakes.append(
                f"hydra.launcher.signal_delay_s={delay}: must be less than the time limit, {limit} "
                f"s (hydra.launcher.timeout_min={settings.timeout_min})"
            )
    elif not settings.wait:
        mistakes.append(
            "hydra.launcher.wait=false: works only with hydra/launcher=slurm; a local sweep always "
            "waits"
        )
    return mistakes


def _model(model: ModelConfig) -> Iterator[str]:
    yield from at_least("model.layers", model.layers, 1)
    yield from at_least("model.dim", model.dim, 1)
    yield from at_least("model.heads", model.heads, 1)
    yield from at_least("model.ffn_dim", model.ffn_dim, 0)
    yield from at_least("model.persistent", model.persistent, 0)
    yield from _clusters(model)
    if model.heads > 0 and model.dim % model.heads:
        divisors = [str(n) for n in range(1, min(model.dim, 1024) + 1) if model.dim % n == 0]
        yield (
            f"model.heads={model.heads}: must divide model.dim={model.dim}; "
            f"one of {', '.join(divisors)}"
        )
    yield from probability("model.dropout", model.dropout)
    yield from probability("model.embedding_dropout", model.embedding_dropout)


def _clusters(model: ModelConfig) -> Iterator[str]:
    """Of words, in the embedding and the output layer."""
    cutoffs, divisor = model.cutoffs, model.divisor
    if any(high <= low for low, high in zip([0, *cutoffs], cutoffs, strict=False)):
        yield f"model.cutoffs={cutoffs}: must rise, from at least 1 on"
    yield from at_least("model.divisor", divisor, 1)
    if model.dim >= 1 and divisor >= 1 and model.dim < divisor ** len(cutoffs):
        yield (
            f"model.divisor={divisor}: leaves the last of {len(cutoffs) + 1} clusters no width of "
            f"model.dim={model.dim}; model.divisor={_widest(model.dim, len(cutoffs))} does"
        )
    if model.tied and not cutoffs:
        yield "model.tied=true: works only with model.cutoffs, ids where clusters of words begin"


def _widest(dim: int, cutoffs: int) -> int:
    """The largest divisor that leaves every cluster a width."""
    divisor = 1
    while (divisor + 1) ** cutoffs <= dim:
        divisor += 1
    return divisor


def _train(train: TrainConfig) -> Iterator[str]:
    for key in (
        "steps",
        "batch_size",
        "block_size",
        "micro_batches",
        "eval_every",
        "checkpoint_every",
        "log_every",
    ):
        yield from at_least(f"train.{key}", getattr(train, key), 1)
    if train.micro_batches > 0 and train.batch_size % train.micro_batches:
        yield (
            f"train.micro_batches={train.micro_batches}: "
            f"must divide train.batch_size={train.batch_size}"
        )
    if not 0 < train.eval_fraction <= 1:
        yield f"train.eval_fraction={train.eval_fraction}: must be above 0 and at most 1"
    if not 0 <= train.seed < _SEEDS:
        yield f"train.seed={train.seed}: must be at least 0 and below {_SEEDS}"
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", train.device):
        yield f"train.device={train.device}: must be auto, cpu, cuda or cuda:N"
    yield from one_of("train.precision", train.precision, ("auto", "float32", "bfloat16"))
    for mistake in one_of("train.attention", train.attention, ("auto", *KINDS["attention"])):
        yield f"{mistake}; name the module of one of your own: 'extensions=[MODULE]'; {HOW_TO_ADD}"


def _tracking(tracking: TrackingConfig) -> Iterator[str]:
    yield from one_of("tracking.mode", tracking.mode, ("offline", "online", "disabled"))
    if not tracking.project:
        yield "tracking.project='': must name a project"
    for key in ("project", "group", "name"):
        value = getattr(tracking, key)
        if value is not None and len(value) > NAME_LENGTH:
            yield f"tracking.{key}={value}: must be at most {NAME_LENGTH} characters long"
    for tag in tracking.tags:
        if not 1 <= len(tag) <= TAG_LENGTH:
            yield f"tracking.tags={tag}: a tag has 1 to {TAG_LENGTH} characters"
