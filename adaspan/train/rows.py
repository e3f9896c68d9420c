"""The rows of `metrics.jsonl`: what training measures, under declared keys."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from adaspan.config.kinds.contract import cause_of
from adaspan.config.kinds.registry import KINDS
from adaspan.data import Tokens
from adaspan.errors import KindError, in_words
from adaspan.nn.flops import (
    attention_macs_per_token,
    feed_forward_macs_per_token,
    paper_macs_per_token,
)
from adaspan.nn.span import reach
from adaspan.nn.transformer import Transformer
from adaspan.runs import figures
from adaspan.runs.figures import Row
from adaspan.runs.figures.own import own_keys
from adaspan.runs.figures.rows import head_span_key
from adaspan.train.device import peak_flops, peak_memory_gb
from adaspan.train.trainer import Trainer

_log = logging.getLogger(__name__)


class TrainingRows:
    """Rows of the updates, each of those since the one before.

    Args:
        trainer: as it was started or has resumed.
        device: where it computes.
        processes: that train together.
    """

    def __init__(self, trainer: Trainer, device: torch.device, processes: int) -> None:
        self.clock = _Clock()
        self._trainer = trainer
        self._device = device
        self._processes = processes
        self._tokens, self._flops = trainer.tokens, trainer.flops.total  # at the row before

    def next(self) -> Row:
        """The row of the present step. All processes must call it."""
        trainer = self._trainer
        losses = trainer.take_losses()  # waits for the device
        seconds = self.clock.take()
        tokens, flops = trainer.tokens - self._tokens, trainer.flops.total - self._flops
        self._tokens, self._flops = trainer.tokens, trainer.flops.total
        loss = trainer.measure.of_nats(losses.double().mean().item())
        row = {
            figures.STEP.key: trainer.step,
            figures.TOKENS.key: trainer.tokens,
            figures.TRAIN.key(trainer.measure): loss,
            figures.LEARNING_RATE.key: trainer.rate,
            figures.TOKENS_PER_SECOND.key: tokens / seconds,
            figures.PROCESSES.key: self._processes,
            figures.THREADS.key: torch.get_num_threads(),
            figures.MEMORY.key: peak_memory_gb(self._device),
        }
        if peak := peak_flops(self._device, trainer.precision):
            row[figures.MFU.key] = flops / seconds / (peak * self._processes)
        if trainer.budget:
            row[figures.SPAN_LOSS_COEFFICIENT.key] = trainer.budget.loss_coefficient
        return {
            **row,
            **trainer.statistics.take(),
            **_spans(trainer),
            figures.EXECUTED_FLOPS.key: trainer.flops.per_token,
            figures.FIXED_FLOPS.key: trainer.flops.fixed_per_token,
            figures.TRAINING_FLOPS.key: trainer.flops.total,
        }


def evaluation_row(trainer: Trainer, score: float) -> Row:
    """What a quick evaluation adds to the row of its step: its score, and every head's span."""
    row = {figures.QUICK.key(trainer.measure): score}
    for layer, spans in enumerate(trainer.spans_LH.tolist()):
        for head, span in enumerate(spans):
            row[head_span_key(layer, head)] = span
    return row


@dataclass(frozen=True)
class Evaluation:
    """What a figure of one's own is computed from: at each evaluation, and at the end.

    Args:
        model: in evaluation mode, on the run's device; at the end it has the best weights.
        spans_LH: every head's span, in tokens; dynamic ones as means over the last block.
        valid: token ids of all of valid.
    """

    model: Transformer
    spans_LH: Tensor
    valid: Tokens


def own_figures(trainer: Trainer, valid: Tokens) -> Row:
    """The figures that extensions have registered; those without a finite value are left out, and
    so are those that fail, with a warning: the run has cost more than they.
    """
    row = {}
    for key in own_keys():
        try:
            value = _own_figure(key, trainer, valid)
        except KindError as error:
            _log.warning("%s; left out", error)
            continue
        if math.isfinite(value):
            row[key] = value
    return row


def check_own_figures(trainer: Trainer, valid: Tokens) -> None:
    """Compute each once, before the run has cost anything.

    Raises:
        KindError: one of them fails.
    """
    for key in own_keys():
        _own_figure(key, trainer, valid)


def _own_figure(key: str, trainer: Trainer, valid: Tokens) -> float:
    figure = KINDS["figure"][key]
    try:
        with _at_rest(trainer.model):
            value = figure(Evaluation(trainer.model, trainer.spans_LH, valid))
    except Exception as error:  # whatever a user's code may raise
        file = getattr(getattr(figure, "__code__", None), "co_filename", None)
        raise KindError(f"figure {key}: {cause_of(error, file)}") from error
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if not isinstance(value, Real):
        raise KindError(f"figure {key}: must give a number, gave {in_words(value)}")
    return float(value)


@contextmanager
def _at_rest(model: Transformer) -> Iterator[None]:
    """The model to look at, between two updates: the training is not affected, not even by
    gradients that are computed with `torch.enable_grad`.
    """
    was_training = model.training
    device = next(model.parameters()).device
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.eval()
        try:
            yield
        finally:
            model.train(was_training)
            model.zero_grad()


def best_row(trainer: Trainer) -> Row:
    """The best quick evaluation so far."""
    best = figures.BEST.key(trainer.measure)
    return {best: trainer.best_score, figures.BEST_STEP.key: trainer.best_step}


def final_row(trainer: Trainer, valid: float, test: float, last: float) -> Row:
    """The row of the final evaluation.

    Args:
        trainer: which has the best weights.
        valid: the score of these on all of valid.
        test: likewise.
        last: of the last weights, at a quick evaluation.
    """
    return {
        figures.STEP.key: trainer.step,
        figures.VALID.key(trainer.measure): valid,
        figures.TEST.key(trainer.measure): test,
        **best_row(trainer),
        figures.LAST.key(trainer.measure): last,
        figures.PARAMETERS.key: sum(p.numel() for p in trainer.model.parameters()),
        **_spans(trainer),
    }


def entropy_row(trainer: Trainer, nats: float | None) -> Row:
    """The entropy of the data, which no model can score below, where it is known.

    Args:
        trainer: knows the measure.
        nats: a token of valid.
    """
    if nats is None:
        return {}
    return {figures.ENTROPY.key(trainer.measure): trainer.measure.of_nats(nats)}


def _spans(trainer: Trainer) -> Row:
    """How long the spans are, and what that costs."""
    spans_LH = trainer.spans_LH
    mean = spans_LH.mean().item()
    attention = attention_macs_per_token(trainer.shape, mean)
    feed_forward = feed_forward_macs_per_token(trainer.shape)
    return {
        figures.SPAN_MEAN.key: mean,
        figures.SPAN_MAX.key: spans_LH.max().item(),
        figures.SPAN_REACH.key: max(
            reach(max(spans), span.limit, span.ramp) if span.ramp else int(max(spans))
            for span, spans in zip(trainer.model.spans, spans_LH.tolist(), strict=True)
        ),
        figures.PAPER_MACS.key: paper_macs_per_token(trainer.shape, mean),
        figures.PAPER_MACS_WITH_POSITION.key: paper_macs_per_token(
            trainer.shape, mean, position=True
        ),
        figures.PAPER_ATTENTION_MACS.key: attention,
        figures.PAPER_FEED_FORWARD_MACS.key: feed_forward,
        figures.ATTENTION_FLOPS.key: 2 * attention,
        figures.FEED_FORWARD_FLOPS.key: 2 * feed_forward,
    }


class _Clock:
    """Time spent on updates: it runs from `go` to the next `pause`, as often as need be."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._seconds = 0.0

    def go(self) -> None:
        if self._since is None:
            self._since = time.perf_counter()

    def pause(self) -> None:
        if self._since is not None:
            self._seconds += time.perf_counter() - self._since
            self._since = None

    def take(self) -> float:
        """Pause, and take the seconds since the last call."""
        self.pause()
        seconds, self._seconds = self._seconds, 0.0
        return seconds
