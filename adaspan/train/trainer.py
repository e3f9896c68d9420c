"""One update after another: model, optimizer, streams, caches, and all that a checkpoint holds."""

from __future__ import annotations

import logging
import math
from typing import NoReturn

import torch
from torch import Tensor

from adaspan.config.schema import RunConfig
from adaspan.data import Corpus
from adaspan.data.streams import Cursor, Streams
from adaspan.errors import NonFiniteError, UserError
from adaspan.nn import flops
from adaspan.nn.attention import IMPLEMENTATIONS
from adaspan.nn.attention.groups import group_heads
from adaspan.nn.transformer import Output, Transformer
from adaspan.runs import measures
from adaspan.train.build import make_model, make_optimizer, shape_of
from adaspan.train.checkpoint import State
from adaspan.train.device import autocast, choose_precision, to_device
from adaspan.train.distributed import Processes
from adaspan.train.optim import clip_gradients, learning_rate, set_learning_rate
from adaspan.train.spans import check_spans
from adaspan.train.statistics import UpdateStatistics

_log = logging.getLogger(__name__)


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
        self._config = config
        self._device = device
        self._processes = processes
        self._rows = processes.rows(config.train.batch_size)
        self.precision = choose_precision(config.train.precision, device)
        torch.manual_seed(config.train.seed)  # the same weights on every process and device
        self.model: Transformer = make_model(
            config.model, config.span, len(corpus.vocabulary), config.train.attention
        ).to(device)
        torch.manual_seed(config.train.seed + processes.rank + 1)  # but dropout of one's own
        if config.train.compile:
            self.model.compile_parts()
        self._parameters = list(self.model.parameters())
        self._optimizer = make_optimizer(config.optimizer, self.model)
        self.budget = config.span.budget(self.model.spans)
        self.statistics = UpdateStatistics(config.optimizer, self.model, processes)
        self._streams = Streams(
            corpus.train,
            config.train.batch_size,
            config.train.block_size,
            config.train.seed,
            self._rows,
        )
        self._caches = self.model.empty_caches(self._rows.stop - self._rows.start)
        self._check_spans()
        # Mean loss of each update since `take_losses`: the first ones over all processes, from a
        # checkpoint, then this process's own, on the device.
        self._shared = torch.empty(0)
        self._losses: list[Tensor] = []
        self.shape = shape_of(config.model, self.model)
        self.step = 0
        # Executed by all processes, at the last `take_losses`: so far, and by the forward pass of
        # the last update.
        self.flops = 0
        self.flops_per_token = 0.0
        self._own_flops = 0  # by this process since then
        self._own_forward_flops = 0  # in the last update
        # In the last update.
        self._mean_spans_LH = torch.zeros(config.model.layers, config.model.heads)
        self.measure = measures.OF_UNIT[corpus.vocabulary.unit]
        self.best_score = math.inf
        self.best_step = 0

    @property
    def tokens(self) -> int:
        """Tokens that the updates so far have learned from, over all processes."""
        return self.step * self._config.train.batch_size * self._config.train.block_size

    @property
    def rate(self) -> float:
        """Learning rate of the last update."""
        return learning_rate(self._config.optimizer, max(1, self.step), self._config.train.steps)

    @property
    def spans_LH(self) -> Tensor:
        """Every head's span in tokens; dynamic spans as their means over the last block."""
        current = self.model.current_spans()
        return self._mean_spans_LH if current is None else current

    def update(self) -> None:
        """Learn from the next block of every stream."""
        block = self._streams.next_block()
        if block.starts_anew:
            self._caches = self.model.empty_caches(len(block.inputs_BM))
        inputs_BM = to_device(block.inputs_BM, self._device)
        targets_BM = to_device(block.targets_BM, self._device)
        pieces = self._config.train.micro_batches
        size = len(inputs_BM) // pieces
        plan = self.model.plan(size, self._config.train.block_size)
        self._own_forward_flops = 0
        losses, penalties, spans, caches = [], [], [], []
        for i in range(pieces):
            part = slice(i * size, (i + 1) * size)
            with autocast(self._device, self.precision):
                cached = [cache[part] for cache in self._caches]
                output = self.model(inputs_BM[part], cached, plan, targets_BM[part])
                loss = output.nats_BM.mean()
            ((loss + output.penalty) / pieces).backward()
            # Tokens on the CPU, where counting them waits for nothing.
            io_macs = self.model.io_macs(block.inputs_BM[part], block.targets_BM[part])
            self._count_flops(output, size, io_macs)
            losses.append(loss.detach())
            penalties.append(output.penalty.detach())
            spans += [torch.stack(output.mean_spans)] if output.mean_spans else []
            caches.append(output.caches)
        self._caches = (
            caches[0] if pieces == 1 else [torch.cat(parts) for parts in zip(*caches, strict=True)]
        )
        self._losses.append(torch.stack(losses).mean())
        if spans:
            self._mean_spans_LH = torch.stack(spans).mean(0)

        self._processes.average_gradients(self._parameters)
        self.statistics.note(torch.stack(penalties).mean())
        self.step += 1
        set_learning_rate(self._optimizer, self.rate)
        clip_gradients(self._config.optimizer, self._parameters)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.model.clamp_spans_()
        if self.budget:
            self.budget.update()

    def take_losses(self) -> Tensor:
        """Mean loss of each update since the last call, in nats per token, over all processes.

        Also settles `flops` and `spans_LH` where every process has seen others, and checks the
        spans. All must call it.

        Raises:
            NonFiniteError: one of them is not finite.
            KindError: a span is out of its range.
        """
        losses = self._shared_losses()
        self._share_flops()
        self._losses, self._shared = [], torch.empty(0)
        self._mean_spans_LH = self._processes.mean(self._mean_spans_LH)
        self._check_spans()
        return losses

    def _check_spans(self) -> None:
        """Look at the spans for the last block; before there is one, for any hidden states."""
        hidden = [cache[:, -self._config.train.block_size :] for cache in self._caches]
        if not hidden[0].shape[1]:
            generator = torch.Generator().manual_seed(0)
            probe_BMD = torch.randn(2, 3, self._config.model.dim, generator=generator)
            hidden = [probe_BMD.to(self._device)] * len(hidden)

        def check() -> int:
            with autocast(self._device, self.precision):
                check_spans(self.model, hidden)
            return 0

        self._processes.main_process_first(check)

    def _shared_losses(self) -> Tensor:
        own = torch.stack(self._losses) if self._losses else torch.empty(0)
        losses = torch.cat([self._shared, self._processes.mean(own)])
        for i in (~losses.isfinite()).nonzero().flatten().tolist()[:1]:
            self.fail(f"the loss is {losses[i].item()}", self.step - len(losses) + 1 + i)
        return losses

    def state(self) -> State | None:
        """What a checkpoint holds, on the main process; None on the others. All must call it.

        Raises:
            NonFiniteError: a loss or a weight is not finite.
        """
        losses = self._shared_losses()
        statistics = self.statistics.state()
        self._share_flops()
        finite = torch.stack([p.detach().isfinite().all() for p in self._parameters]).all()
        if not finite:
            self.fail("a weight is no longer finite")
        caches = [self._processes.gather(cache.cpu()) for cache in self._caches]
        random = self._processes.gather(torch.get_rng_state())
        random_gpu = (
            self._processes.gather(torch.cuda.get_rng_state(self._device))
            if self._device.type == "cuda"
            else []
        )
        if not self._processes.is_main:
            return None
        return {
            "step": self.step,
            "precision": str(self.precision),
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "streams": {
                "epoch": self._streams.cursor.epoch,
                "offset": self._streams.cursor.offset,
            },
            "caches": [torch.cat(parts) for parts in caches],
            "random": random,
            "random_gpu": random_gpu,
            "losses": losses,
            "statistics": statistics,
            "flops": self.flops,
            "best_score": self.best_score,
            "best_step": self.best_step,
            **({"budget": self.budget.state()} if self.budget else {}),
        }

    def load(self, state: State) -> None:
        """Go on from what `state` gave; every process takes its part.

        Raises:
            UserError: the run was begun in another precision, which a device chose for it, or with
                other parameters.
        """
        if state["precision"] != str(self.precision):
            device = self._config.train.device
            raise UserError(
                f"train.device={device}: gives {self.precision}, but this run was begun in "
                f"{state['precision']}; use a device like that one, or train.restart=true to start "
                "over"
            )
        self.step = state["step"]
        try:
            self.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(
                f"checkpoint and model have different parameters ({reason}); an extension has "
                "probably changed; train.restart=true starts over"
            ) from error
        self._streams.cursor = Cursor(**state["streams"])
        self._caches = [cache[self._rows].to(self._device) for cache in state["caches"]]
        if len(state["random"]) == self._processes.world_size:
            torch.set_rng_state(state["random"][self._processes.rank])
        else:
            _log.warning("another number of processes than before: dropout draws other numbers")
            torch.manual_seed(self._seed_of(self.step))
        if len(state["random_gpu"]) == self._processes.world_size and self._device.type == "cuda":
            torch.cuda.set_rng_state(state["random_gpu"][self._processes.rank], self._device)
        elif self._device.type == "cuda":  # begun on a CPU
            torch.cuda.manual_seed(self._seed_of(self.step))
        if self.budget:
            self.budget.load(state["budget"])
        self._shared = state["losses"]
        self.statistics.load(state.get("statistics", {}))
        self.flops = state["flops"]
        self.best_score = state["best_score" if "best_score" in state else "best_bpc"]
        self.best_step = state["best_step"]

    def _seed_of(self, step: int) -> int:
        """For dropout after `step`, where its own random state is not known."""
        return self._config.train.seed + 1_000_003 * step + self._processes.rank

    def best_state(self) -> State:
        """What the checkpoint of the best weights holds."""
        return {
            "step": self.best_step,
            "score": self.best_score,
            "model": self.model.state_dict(),
            "spans": self._mean_spans_LH,
        }

    def note_if_best(self, score: float) -> bool:
        """Note an evaluation of the weights as they are if none was better; whether it was."""
        if score >= self.best_score:
            return False
        self.take_for_best(score)
        return True

    def take_for_best(self, score: float) -> None:
        """Take the weights as they are for the best, whatever was noted before.

        Args:
            score: of their quick evaluation.
        """
        self.best_score, self.best_step = score, self.step

    def load_best(self, state: State) -> None:
        """Take the weights of `best_state`, to evaluate them."""
        self.best_step = state["step"]
        self.best_score = state["score" if "score" in state else "bpc"]
        self.model.load_state_dict(state["model"])
        self._mean_spans_LH = state["spans"].to(self._device)

    def fail(self, what: str, step: int | None = None) -> NoReturn:
        """End a run that has diverged, at `step` or the last one. Raises `NonFiniteError`."""
        step = self.step if step is None else step
        rate = learning_rate(self._config.optimizer, step, self._config.train.steps)
        raise NonFiniteError(
            f"step {step}: {what} (learning rate {rate:g}); what was saved before is kept, "
            "try a lower optimizer.lr"
        )

    def _count_flops(self, output: Output, streams: int, io_macs: int) -> None:
        """Add what a forward and a backward pass over a block of so many streams took."""
        forward, backward = flops.executed_flops(
            self.shape,
            batch_size=streams,
            block_size=self._config.train.block_size,
            cached=[cache.shape[1] for cache in self._caches],
            groups=output.groups,
            attention=IMPLEMENTATIONS[self.model.attention],
            device=self._device,
            io_macs=io_macs,
        )
        self._own_flops += forward + backward
        self._own_forward_flops += forward

    def fixed_flops_per_token(self) -> float:
        """FLOPs a token of the forward pass, if every head looked back as far as the limit."""
        limit, train = self.model.limit, self._config.train
        groups = group_heads([limit] * self.shape.heads, limit, ramp=None, cost=None)
        streams = train.batch_size // train.micro_batches // self._processes.world_size
        forward, _ = flops.executed_flops(
            self.shape,
            batch_size=streams,
            block_size=train.block_size,
            cached=[limit] * self.shape.layers,
            groups=[groups] * self.shape.layers,
            attention=IMPLEMENTATIONS[self.model.attention],
            device=self._device,
        )
        return forward / (streams * train.block_size)

    def _share_flops(self) -> None:
        """Dynamic spans of other streams reach otherwise: every process counts its own."""
        own = torch.tensor([self._own_flops, self._own_forward_flops])
        every, forward = self._processes.sum(own).tolist()
        self.flops += every
        self._own_flops = 0
        train = self._config.train
        self.flops_per_token = forward / (train.batch_size * train.block_size)
