"""All that a checkpoint holds of a run, and how the run goes on from it."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from adaspan.data.streams import Cursor
from adaspan.errors import RunError, UserError
from adaspan.train.checkpoint import State
from adaspan.train.device import device_name, precision_name
from adaspan.train.optim import optimizer_state
from adaspan.train.trainer import Trainer
from adaspan.train.weights import UNFIT, mismatch

_log = logging.getLogger(__name__)


def state_of(trainer: Trainer) -> State | None:
    """What a checkpoint holds, on the main process; None on the others. All must call it.

    Raises:
        NonFiniteError: a loss or a weight is not finite.
    """
    processes, cursor = trainer.processes, trainer.streams.cursor
    losses = trainer.losses()
    statistics = trainer.statistics.state()
    trainer.flops.share()
    trainer.check_weights()
    caches = [processes.gather(cache.float().cpu()) for cache in trainer.caches]
    random, random_gpu = _random_states(trainer)
    if not processes.is_main:
        return None
    return {
        "step": trainer.step,
        "precision": str(trainer.precision),
        "model": trainer.model.state_dict(),
        "optimizer": optimizer_state(trainer.optimizer),
        "streams": {"epoch": cursor.epoch, "offset": cursor.offset},
        "caches": [torch.cat(parts) for parts in caches],
        "random": random,
        "random_gpu": random_gpu,
        "losses": losses,
        "statistics": statistics,
        "flops": trainer.flops.total,
        "best_score": trainer.best_score,
        "best_step": trainer.best_step,
        **({"budget": trainer.budget.state()} if trainer.budget else {}),
        **({"plan": trainer.standing.plan.state()} if trainer.standing else {}),
    }


def resume_from(state: State, trainer: Trainer) -> None:
    """Go on from what `state_of` gave; every process takes its part.

    Raises:
        UserError: the run was begun in another precision, which a device chose for it, or with
            other parameters.
    """
    if state["precision"] != str(trainer.precision):
        asked, now = trainer.config.train.precision, precision_name(trainer.precision)
        raise UserError(
            f"train.precision={asked}: gives {now} on {device_name(trainer.device)}, but this run "
            f"was begun in {precision_name(state['precision'])}; use a device like that one, or "
            "train.restart=true to start over"
        )
    try:
        _restore(state, trainer)
    except torch.OutOfMemoryError:
        raise
    except UNFIT as error:
        raise UserError(
            f"checkpoint and model have different parameters ({mismatch(error)}): other code has "
            "written it, and can go on with it; train.restart=true starts over"
        ) from error


def _restore(state: State, trainer: Trainer) -> None:
    trainer.step = state["step"]
    trainer.model.load_state_dict(state["model"])
    trainer.load_optimizer(state["optimizer"])
    trainer.streams.cursor = Cursor(**state["streams"])
    trainer.caches = [
        cache[trainer.own_streams].to(empty.device, empty.dtype)
        for cache, empty in zip(state["caches"], trainer.caches, strict=True)
    ]
    _restore_random_states(state, trainer)
    if trainer.budget:
        trainer.budget.load(state["budget"])
    if trainer.standing:
        trainer.standing.plan.load(state.get("plan", []))
    trainer.load_losses(state["losses"])
    trainer.statistics.load(state.get("statistics", {}))
    trainer.flops.total = state["flops"]
    trainer.best_score = state["best_score" if "best_score" in state else "best_bpc"]
    trainer.best_step = state["best_step"]


def best_state_of(trainer: Trainer) -> State:
    """What the checkpoint of the best weights holds."""
    return {
        "step": trainer.best_step,
        "score": trainer.best_score,
        "model": trainer.model.state_dict(),
        "spans": trainer.mean_spans_LH,
    }


def take_best(state: State, trainer: Trainer) -> None:
    """Take the weights of `best_state_of`, to evaluate them.

    Raises:
        RunError: they do not fit the model.
    """
    try:
        step, score = state["step"], state["score" if "score" in state else "bpc"]
        trainer.model.load_state_dict(state["model"])
        trainer.mean_spans_LH = state["spans"].to(trainer.device)
    except UNFIT as error:
        raise RunError(f"the best weights do not fit the model ({mismatch(error)})") from error
    trainer.best_step, trainer.best_score = step, score


def _random_states(trainer: Trainer) -> tuple[list[Tensor], list[Tensor]]:
    """Of every process: the CPU's, and if there is one the GPU's."""
    random = trainer.processes.gather(torch.get_rng_state())
    if trainer.device.type != "cuda":
        return random, []
    return random, trainer.processes.gather(torch.cuda.get_rng_state(trainer.device))


def _restore_random_states(state: State, trainer: Trainer) -> None:
    rank, world_size = trainer.processes.rank, trainer.processes.world_size
    # For dropout, where its own random state is not known.
    seed = trainer.config.train.seed + 1_000_003 * trainer.step + rank
    if len(state["random"]) == world_size:
        torch.set_rng_state(state["random"][rank])
    else:
        _log.warning("another number of processes than before: dropout draws other numbers")
        torch.manual_seed(seed)
    if len(state["random_gpu"]) == world_size and trainer.device.type == "cuda":
        torch.cuda.set_rng_state(state["random_gpu"][rank], trainer.device)
    elif trainer.device.type == "cuda":  # begun on a CPU
        torch.cuda.manual_seed(seed)
