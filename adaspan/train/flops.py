"""FLOPs that the training of a run executes, counted as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from adaspan.config.schema import RunConfig
from adaspan.nn.attention import IMPLEMENTATIONS
from adaspan.nn.attention.groups import Group, group_heads
from adaspan.nn.flops import Shape, executed_flops
from adaspan.nn.transformer import Transformer
from adaspan.train.distributed import Processes


class ExecutedFlops:
    """What all processes executed: `total` so far, and `per_token` by the forward pass of the last
    update; `fixed_per_token` is what that had executed if every head had looked back as far as the
    limit. All are as they were at the last `share`.

    Args:
        config: of the run.
        model: that is trained.
        shape: of the model.
        device: where it computes.
        processes: those that train together.
    """

    def __init__(
        self,
        config: RunConfig,
        model: Transformer,
        shape: Shape,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self._settings = config.train
        self._model = model
        self._shape = shape
        self._device = device
        self._processes = processes
        self.total = 0
        self.per_token = self.fixed_per_token = 0.0
        self._own = 0  # by this process since `share`
        # In the last update: of forward passes, of embedding and output layer in them, and tokens
        # of each stream before it.
        self._own_forward = self._own_io = self._past = 0

    def begin_update(self, past: int) -> None:
        """The passes that are added from here on belong to another update.

        Args:
            past: tokens of each stream that precede its block.
        """
        self._own_forward = self._own_io = 0
        self._past = past

    def add(
        self, streams: int, cached: Sequence[int], groups: Sequence[Sequence[Group]], io_macs: int
    ) -> None:
        """Add what a forward and a backward pass over a block took.

        Args:
            streams: that were read side by side.
            cached: length of each layer's cache, before the block.
            groups: for each layer, which heads were computed with which window.
            io_macs: of embedding and output layer, forward.
        """
        forward, backward = self._of_block(self._shape, streams, cached, groups, io_macs)
        self._own += forward + backward
        self._own_forward += forward
        self._own_io += 2 * io_macs

    def share(self) -> None:
        """Dynamic spans of other streams reach otherwise: every process counts its own. All must
        call it.
        """
        own = torch.tensor([self._own, self._own_forward, self._own_io])
        every, forward, io = self._processes.sum(own).tolist()
        self.total += every
        self._own = 0
        tokens = self._settings.batch_size * self._settings.block_size
        self.per_token = forward / tokens
        self.fixed_per_token = (self._fixed_layers() + io) / tokens

    def _fixed_layers(self) -> int:
        """By the forward pass of the last update, without embedding and output layer."""
        limit, train = self._model.limit, self._settings
        groups = group_heads([limit] * self._shape.heads, limit, ramp=None, cost=None)
        pieces = train.micro_batches * self._processes.world_size
        streams = train.batch_size // pieces
        cached, layers = min(self._past, limit), self._shape.layers
        without_gates = replace(self._shape, span_macs=0)
        forward, _ = self._of_block(
            without_gates, streams, [cached] * layers, [groups] * layers, io_macs=0
        )
        return forward * pieces

    def _of_block(
        self,
        shape: Shape,
        streams: int,
        cached: Sequence[int],
        groups: Sequence[Sequence[Group]],
        io_macs: int,
    ) -> tuple[int, int]:
        """Of the forward and of the backward pass."""
        return executed_flops(
            shape,
            batch_size=streams,
            block_size=self._settings.block_size,
            cached=cached,
            groups=groups,
            attention=IMPLEMENTATIONS[self._model.attention],
            device=self._device,
            io_macs=io_macs,
        )
