"""One update after another. What of it a checkpoint holds is in `state.py`."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import torch
from torch import Tensor

from adaspan.config.schema import RunConfig
from adaspan.data import Corpus
from adaspan.data.streams import Block, Streams
from adaspan.errors import NonFiniteError
from adaspan.nn.transformer import Transformer
from adaspan.runs import measures
from adaspan.train.attention import check_attend
from adaspan.train.build import choose_attention, make_model, make_optimizer, own_kinds, shape_of
from adaspan.train.device import autocast, choose_precision, to_device
from adaspan.train.distributed import Processes
from adaspan.train.flat import FlatParameters
from adaspan.train.flops import ExecutedFlops
from adaspan.train.graph import can_be_captured
from adaspan.train.optim import flattened, learning_rate, prepare, set_learning_rate
from adaspan.train.spans import check_spans
from adaspan.train.standing import StandingStep
from adaspan.train.statistics import UpdateStatistics
from adaspan.train.step import Learned, Step


class Trainer:
    """The state of a run between two updates, and how to make the next one.

    Nothing in `update` waits for a GPU but one read of the spans, or one in each layer and
    micro-batch where spans differ from token to token.

    Args:
        config: of the run.
        corpus: the data.
        device: where to compute.
        processes: those that train together.
    """

    def __init__(
        self, config: RunConfig, corpus: Corpus, device: torch.device, processes: Processes
    ) -> None:
        self.config = config
        self.device = device
        self.processes = processes
        self.own_streams = processes.rows(config.train.batch_size)
        self.precision = choose_precision(config.train.precision, device)
        torch.manual_seed(config.train.seed)  # the same weights on every process and device
        self.model: Transformer = make_model(
            config.model,
            config.span,
            len(corpus.vocabulary),
            choose_attention(config.train.attention, config.model, device, self.precision),
        ).to(device)
        torch.manual_seed(config.train.seed + processes.rank + 1)  # but dropout of one's own
        if config.train.compile:
            self.model.compile_parts()
        self._parameters = list(self.model.parameters())
        self.optimizer = make_optimizer(config.optimizer, self.model)
        self.budget = config.span.in_model(config.model).budget(self.model.spans)
        self.statistics = UpdateStatistics(config.optimizer, self.model, processes)
        self.streams = Streams(
            corpus.train,
            config.train.batch_size,
            config.train.block_size,
            config.train.seed,
            self.own_streams,
        )
        self._step, self.standing = self._make_step()
        self.caches = self._empty_caches()
        self.step = 0
        self._check_kinds()
        # Mean loss of each update since `take_losses`: the first ones over all processes, from a
        # checkpoint, then this process's own, on the device.
        self._shared = torch.empty(0)
        self._losses: list[Tensor] = []
        self.shape = shape_of(config.model, self.model)
        self.flops = ExecutedFlops(config, self.model, self.shape, device, processes)
        # In the last update.
        self.mean_spans_LH = torch.zeros(config.model.layers, config.model.heads)
        self.measure = measures.OF_UNIT[corpus.vocabulary.unit]
        self.best_score = math.inf
        self.best_step = 0

    @property
    def tokens(self) -> int:
        """Tokens that the updates so far have learned from, over all processes."""
        return self.step * self.config.train.batch_size * self.config.train.block_size

    @property
    def rate(self) -> float:
        """Learning rate of the last update."""
        return learning_rate(self.config.optimizer, max(1, self.step), self.config.train.steps)

    @property
    def spans_LH(self) -> Tensor:
        """Every head's span in tokens; dynamic spans as their means over the last block."""
        current = self.model.current_spans()
        return self.mean_spans_LH if current is None else current

    def _make_step(self) -> tuple[Step, StandingStep | None]:
        """On a GPU also one that stands for many updates, if this model's can."""
        flat = None
        if self.device.type == "cuda" and can_be_captured(self.model):
            flat = FlatParameters(self.model, self.precision)
            self.optimizer = flattened(self.optimizer, flat)
        step = Step(
            self.config,
            self.model,
            self.optimizer,
            self.statistics,
            self.budget,
            self.precision,
            flat,
        )
        applies = prepare(self.optimizer, self.device)
        if flat is None:
            return step, None
        return step, StandingStep(
            step,
            self.model,
            flat,
            streams=self._streams_at_once,
            block_size=self.config.train.block_size,
            captures=self.config.train.graph,
            applies=applies,
        )

    def _empty_caches(self) -> list[Tensor]:
        """On a GPU in the precision of the products, which are all that they go into."""
        caches = self.model.empty_caches(self.own_streams.stop - self.own_streams.start)
        return [cache.to(self.precision) for cache in caches] if self.standing else caches

    @property
    def _streams_at_once(self) -> int:
        """Of a micro-batch."""
        own = len(range(self.config.train.batch_size)[self.own_streams])
        return own // self.config.train.micro_batches

    def update(self) -> None:
        """Learn from the next block of every stream."""
        learned = self._learn(self.streams.next_block())
        self.processes.average_gradients(self._parameters)
        self.step += 1
        set_learning_rate(self.optimizer, self.rate)
        applied = (self.standing or self._step).apply()
        self.model.note_updates(self.step)
        self.caches = learned.caches
        self._losses.append(learned.loss)
        self.statistics.note(learned.penalty, applied.norms_Q)
        if learned.mean_spans_LH is not None:
            self.mean_spans_LH = learned.mean_spans_LH

    def _learn(self, block: Block) -> Learned:
        """Add up the gradients of a block."""
        if not block.past:
            self.caches = self._empty_caches()
        cached = [cache.shape[1] for cache in self.caches]
        inputs_BM = to_device(block.inputs_BM, self.device)
        targets_BM = to_device(block.targets_BM, self.device)
        learned = (self.standing or self._step).learn(inputs_BM, targets_BM, self.caches)
        size = self._streams_at_once
        self.flops.begin_update(block.past)
        for i, groups in enumerate(learned.groups):
            part = slice(i * size, (i + 1) * size)
            # Tokens on the CPU, where counting them waits for nothing.
            io_macs = self.model.io_macs(block.inputs_BM[part], block.targets_BM[part])
            self.flops.add(size, cached, groups, io_macs)
        return learned

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Go on from the state of an optimizer."""
        self.optimizer.load_state_dict(state)
        prepare(self.optimizer, self.device)
        if self.standing:
            self.standing.begin_anew()

    def take_losses(self) -> Tensor:
        """Mean loss of each update since the last call, in nats per token, over all processes.

        Also settles `flops` and `spans_LH` where every process has seen others, and checks the
        spans. All must call it.

        Raises:
            NonFiniteError: one of them is not finite.
            KindError: a span is out of its range.
        """
        losses = self.losses()
        self.flops.share()
        self._losses, self._shared = [], torch.empty(0)
        self.mean_spans_LH = self.processes.mean(self.mean_spans_LH)
        self._check_spans()
        return losses

    def _check_kinds(self) -> None:
        """Look for what a kind of a user's own gets wrong, before the run has cost anything."""
        with autocast(self.device, self.precision):
            check_attend(self.model, self.precision)
        self._check_spans()

    def _check_spans(self) -> None:
        """Look at the spans for the last block; before there is one, for any hidden states."""
        hidden = [cache[:, -self.config.train.block_size :] for cache in self.caches]
        if not hidden[0].shape[1]:
            generator = torch.Generator().manual_seed(0)
            probe_BMD = torch.randn(2, 3, self.config.model.dim, generator=generator)
            hidden = [probe_BMD.to(self.device)] * len(hidden)

        def check() -> int:
            with autocast(self.device, self.precision):
                check_spans(self.model, hidden, learned=self.step > 0)
            return 0

        self.processes.main_process_first(check)

    def losses(self) -> Tensor:
        """Those that the next `take_losses` will give; raises `NonFiniteError` as it does."""
        own = torch.stack(self._losses) if self._losses else torch.empty(0)
        losses = torch.cat([self._shared, self.processes.mean(own)])
        for i in (~losses.isfinite()).nonzero().flatten().tolist()[:1]:
            self.fail(f"the loss is {losses[i].item()}", self.step - len(losses) + 1 + i)
        return losses

    def load_losses(self, losses: Tensor) -> None:
        """Go on from what `losses` gave."""
        self._shared = losses

    def check_weights(self) -> None:
        """Raise `NonFiniteError` if one of them is not finite."""
        finite = torch.stack([p.detach().isfinite().all() for p in self._parameters]).all()
        if not finite:
            self.fail("a weight is no longer finite")

    def note_if_best(self, score: float) -> bool:
        """Note an evaluation of the weights as they are if none was better; whether it was.

        Weights whose spans were on their way to a budget count only until it is kept.
        """
        first_within_budget = self.budget and self.best_step < self.budget.kept_from <= self.step
        if score >= self.best_score and not first_within_budget:
            return False
        self.take_for_best(score)
        return True

    def take_for_best(self, score: float) -> None:
        """Take the weights as they are for the best, whatever was noted before.

        Args:
            score: of their quick evaluation.
        """
        self.best_score, self.best_step = score, self.step

    def fail(self, what: str, step: int | None = None) -> NoReturn:
        """End a run that has diverged, at `step` or the last one. Raises `NonFiniteError`."""
        step = self.step if step is None else step
        if step <= 1:  # no update is the cause
            look = "".join(f"; look at {kind}" for kind in own_kinds(self.config))
            raise NonFiniteError(
                f"step {step}: {what}: what the model gives is not finite from the start{look}"
            )
        rate = learning_rate(self.config.optimizer, step, self.config.train.steps)
        raise NonFiniteError(
            f"step {step}: {what} (learning rate {rate:g}); what was saved before is kept, "
            "try a lower optimizer.lr"
        )
