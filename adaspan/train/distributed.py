"""Several processes, one run: who this process is, and the few things that all must agree on.

Started by `torchrun`, or by anything that sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT. Without them a run is one process and every function here costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous

from adaspan import ranks
from adaspan.errors import LostPeerError

_JOIN_SECONDS = 300.0
# The default of torch.
_WAIT_SECONDS = 1800.0
# Answers of `main_process_first` lie between these.
_LOWEST, _FAILED = -(2**62), 2**62
# What gloo says when another process is gone.
_GONE = ("Connection closed by peer", "Connection reset by peer", "Timed out waiting")


@dataclass(frozen=True)
class Processes:
    """The processes that train a run together, seen from one of them."""

    rank: int = 0
    world_size: int = 1
    # Decisions travel over the CPU, so that asking for one never waits for the GPU.
    _control: distributed.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """The one process that writes files and speaks to the user."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """The streams of the batch that this process reads: its share, `validate_shares`."""
        share = batch_size // self.world_size
        return slice(self.rank * share, (self.rank + 1) * share)

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes, in one message.

        One flat message has the same layout at every step, also after a resume: the sums are
        bit-equal. (DistributedDataParallel rearranges its buckets after its first step.)
        """
        if self.world_size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.world_size
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        torch._foreach_copy_(
            gradients, [p.view_as(g) for p, g in zip(parts, gradients, strict=True)]
        )

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, on the CPU."""
        values = values.cpu()
        if self.world_size > 1:
            distributed.all_reduce(values, group=self._control)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes, on the CPU."""
        return self.sum(values) / self.world_size

    def all_reduce_max(self, value: int) -> int:
        """The largest of the processes' values: a request to one process reaches them all."""
        if self.world_size == 1:
            return value
        agreed = torch.tensor(value)
        distributed.all_reduce(agreed, distributed.ReduceOp.MAX, group=self._control)
        return int(agreed)

    def main_process_first(self, decide: Callable[[], int]) -> int:
        """What `decide` returns on the main process, while the others wait.

        If it raises there, the others exit silently: the main process reports the error.
        """
        if not self.is_main:
            if (answer := self.all_reduce_max(_LOWEST)) == _FAILED:
                raise SystemExit(1)
            return answer
        try:
            answer = decide()
        except BaseException:
            self.all_reduce_max(_FAILED)
            raise
        return self.all_reduce_max(answer)

    def gather(self, part: Tensor) -> list[Tensor]:
        """The same-shaped CPU tensors of all processes, in the order of their ranks; on the
        other processes than the main one an empty list.
        """
        if self.world_size == 1:
            return [part]
        part = part.contiguous()
        parts = [torch.empty_like(part) for _ in range(self.world_size)] if self.is_main else None
        distributed.gather(part, parts, group=self._control)
        return parts or []


@contextmanager
def joined(device: torch.device, join_seconds: float = _JOIN_SECONDS) -> Iterator[Processes]:
    """Join the processes of this run; leave them at the end.

    Args:
        device: where they compute.
        join_seconds: how long the others are waited for; later, they may take their time.
    """
    if (world_size := ranks.world_size()) == 1:
        yield Processes()
        return
    with lost_peers_in_words():
        joining = timedelta(seconds=join_seconds)
        store, rank, _ = next(rendezvous("env://", timeout=joining))
        store.set_timeout(timedelta(seconds=_WAIT_SECONDS))
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=world_size)
        control = distributed.new_group(backend="gloo")
        try:
            yield Processes(distributed.get_rank(), world_size, control)
        except SystemExit:
            distributed.destroy_process_group()
            raise
        # After an error nothing is closed: nccl would wait there for the others.
        distributed.destroy_process_group()


@contextmanager
def lost_peers_in_words() -> Iterator[None]:
    """Turn the errors of torch that mean that another process is gone into `LostPeerError`."""
    try:
        yield
    except Exception as error:
        is_known = isinstance(error, RuntimeError) and any(text in str(error) for text in _GONE)
        if not is_known and not isinstance(error, distributed.DistError):
            raise
        line = str(error).strip().splitlines()[0]
        raise LostPeerError(f"the processes of this run lost one another: {line}") from error
