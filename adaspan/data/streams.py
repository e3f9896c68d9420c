"""Training reads the text as B parallel streams, block after block, around and around."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from adaspan.data.prepared import Tokens


class Block(NamedTuple):
    """The next M tokens of each stream. Targets are the inputs, one token on."""

    inputs_BM: Tensor  # int64
    targets_BM: Tensor
    past: int  # tokens of each stream that precede the block; 0: what was read before does not


@dataclass
class Cursor:
    """Where the streams stand: all that is needed to go on reading."""

    epoch: int = 0
    offset: int = 0  # tokens read in each stream of this epoch


class Streams:
    """The text cut into `batch_size` contiguous streams, of which this process reads `rows`.

    When the streams end they begin anew, at an offset below block_size that depends on seed and
    epoch only, so that block boundaries fall elsewhere each time.

    Args:
        tokens: the training split, at least batch_size * (block_size + 1) long.
        batch_size: streams over all processes.
        block_size: tokens a stream and block.
        seed: of the offsets.
        rows: the streams that this process reads.
    """

    def __init__(
        self, tokens: Tokens, batch_size: int, block_size: int, seed: int, rows: slice
    ) -> None:
        length = len(tokens) // batch_size
        self._tokens_BT = tokens[: batch_size * length].reshape(batch_size, length)[rows]
        self._block_size = block_size
        self._seed = seed
        self.cursor = Cursor()

    def next_block(self) -> Block:
        start = self.cursor.offset
        if start + self._block_size + 1 > self._tokens_BT.shape[1]:
            self.cursor.epoch += 1
            start = self._first_offset(self.cursor.epoch)
        past = start - self._first_offset(self.cursor.epoch)
        end = start + self._block_size
        self.cursor.offset = end
        block = torch.from_numpy(self._tokens_BT[:, start : end + 1].astype(np.int64))
        return Block(block[:, :-1].contiguous(), block[:, 1:].contiguous(), past)

    def _first_offset(self, epoch: int) -> int:
        if epoch == 0:
            return 0
        # A hash, not a generator: the same on every machine and in every version of every library.
        digest = hashlib.sha256(f"{self._seed}/{epoch}".encode()).digest()
        room: int = self._tokens_BT.shape[1] - self._block_size
        return int.from_bytes(digest[:8], "big") % min(self._block_size, room)
