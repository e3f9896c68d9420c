"""Several processes, one run: who this process is, and the few things that all must agree on.

Started by `torchrun`, or by anything that sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT. Without them a run is one process and every function here costs nothing.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from threading import Timer

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from adaspan import ranks
from adaspan.errors import LostPeerError, NotMetError, RunError
from adaspan.train.agree import Facts, exchanged, require_alike

_JOIN_SECONDS = 300.0
# After which a process says that it waits for others, of which its user may know nothing.
_PATIENCE_SECONDS = 10.0
# The default of torch.
_WAIT_SECONDS = 1800.0
# Answers of `main_process_first` lie between these; an exit code is added to the second.
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

        If it raises there, the others exit silently and alike: the main process reports the error.
        """
        if not self.is_main:
            if (answer := self.all_reduce_max(_LOWEST)) >= _FAILED:
                raise SystemExit(answer - _FAILED)
            return answer
        try:
            answer = decide()
        except BaseException as error:
            self.all_reduce_max(_FAILED + getattr(error, "exit_code", RunError.exit_code))
            raise
        return self.all_reduce_max(answer)

    def require_alike(self, key: str, value: str) -> None:
        """Refuse to go on if a process has another value than the main one.

        Raises:
            SharedError: names the key and both values; all processes raise it.
        """
        if self.world_size > 1:
            own = {"host": platform.node(), key: value}
            require_alike([json.loads(text) for text in self._texts(json.dumps(own))])

    def _texts(self, own: str) -> list[str]:
        """The texts of all processes, in the order of their ranks."""
        own_bytes = own.encode()
        padded = torch.zeros(self.all_reduce_max(len(own_bytes)), dtype=torch.uint8)
        padded[: len(own_bytes)] = torch.tensor(list(own_bytes), dtype=torch.uint8)
        parts = [torch.empty_like(padded) for _ in range(self.world_size)]
        distributed.all_gather(parts, padded, group=self._control)
        return [bytes(part.tolist()).rstrip(b"\0").decode() for part in parts]

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
def joined(
    device: torch.device,
    facts: Callable[[], Facts],
    join_seconds: float = _JOIN_SECONDS,
) -> Iterator[Processes]:
    """Join the processes of this run, if all were given the same; leave them at the end.

    Args:
        device: where this one computes.
        facts: what this one was given; called only where there are others.
        join_seconds: how long the others are waited for; later, they may take their time.

    Raises:
        NotMetError: they did not come.
        SharedError: one was given something else; all processes raise it.
    """
    if (world_size := ranks.world_size()) == 1:
        yield Processes()
        return
    own = facts()
    store = _meet(world_size, join_seconds)
    with lost_peers_as_one_line():
        rank = ranks.rank()
        require_alike(exchanged(store, rank, world_size, own))
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


def _meet(world_size: int, join_seconds: float) -> Store:
    """What all processes of this run can read and write, once all are there."""
    place = ":".join(os.environ[name] for name in ("MASTER_ADDR", "MASTER_PORT"))
    others = f"the {world_size - 1} other of {world_size} processes at {place}"
    way_out = "for a run of one process: unset RANK WORLD_SIZE"
    patience = Timer(
        _PATIENCE_SECONDS,
        lambda: print(f"adaspan: waiting for {others}; {way_out}", file=sys.stderr, flush=True),
    )
    patience.daemon = True
    patience.start()
    try:
        store: Store
        store, *_ = next(rendezvous("env://", timeout=timedelta(seconds=join_seconds)))
        return store
    except (distributed.DistError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise NotMetError(f"did not meet {others} ({reason}); {way_out}") from error
    finally:
        patience.cancel()


@contextmanager
def lost_peers_as_one_line() -> Iterator[None]:
    """Turn the errors of torch that mean that another process is gone into `LostPeerError`."""
    try:
        yield
    except Exception as error:
        is_known = isinstance(error, RuntimeError) and any(text in str(error) for text in _GONE)
        if not is_known and not isinstance(error, distributed.DistError):
            raise
        line = str(error).strip().splitlines()[0]
        raise LostPeerError(f"the processes of this run lost one another: {line}") from error
