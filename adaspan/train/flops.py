"""FLOPs that the training of a run executes, counted as it goes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from adaspan.config.schema import RunConfig
from adaspan.nn.attention import IMPLEMENTATIONS
from adaspan.nn.attention.groups import Group, group_heads
from adaspan.nn.flops import Shape, executed_flops
from adaspan.nn.transformer import Transformer
from adaspan.train.distributed import Processes


class ExecutedFlops:
    """What all processes executed: `total` so far, and `per_token` by the forward pass of the last
    update. Both are as they were at the last `share`.

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
        self.per_token = 0.0
        self._own = 0  # by this process since `share`
        self._own_forward = 0  # in the last update

    def begin_update(self) -> None:
        """The passes that are added from here on belong to another update."""
        self._own_forward = 0

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
        forward, backward = self._of_block(streams, cached, groups, io_macs)
        self._own += forward + backward
        self._own_forward += forward

    def share(self) -> None:
        """Dynamic spans of other streams reach otherwise: every process counts its own. All must
        call it.
        """
        own = torch.tensor([self._own, self._own_forward])
        every, forward = self._processes.sum(own).tolist()
        self.total += every
        self._own = 0
        self.per_token = forward / (self._settings.batch_size * self._settings.block_size)

    def fixed_per_token(self) -> float:
        """FLOPs a token of the forward pass, if every head looked back as far as the limit."""
        limit, train = self._model.limit, self._settings
        groups = group_heads([limit] * self._shape.heads, limit, ramp=None, cost=None)
        streams = train.batch_size // train.micro_batches // self._processes.world_size
        layers = self._shape.layers
        forward, _ = self._of_block(streams, [limit] * layers, [groups] * layers)
        return forward / (streams * train.block_size)

    def _of_block(
        self,
        streams: int,
        cached: Sequence[int],
        groups: Sequence[Sequence[Group]],
        io_macs: int | None = None,
    ) -> tuple[int, int]:
        """Of the forward and of the backward pass."""
        return executed_flops(
            self._shape,
            batch_size=streams,
            block_size=self._settings.block_size,
            cached=cached,
            groups=groups,
            attention=IMPLEMENTATIONS[self._model.attention],
            device=self._device,
            io_macs=io_macs,
        )
