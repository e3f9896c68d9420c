"""How a band of scores is cut into tiles: to suit a processor's cache, or to keep a GPU busy."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

# Found by trying, on CPUs: rows of a tile for windows that are short against it, or long, ...
_ROWS_SHORT, _ROWS_LONG, _SHORT = 64, 128, 256
# ... scores of a tile, which should stay in the cache, ...
_SCORES_CPU = 2**20
# ... and the overhead of a group of heads, see `group_cost`.
_GROUP_COST_CPU = 64
# ... which counts for more where a token is read alone.
_GROUP_COST_ONE_TOKEN_CPU = 1000
# On a GPU: to start the kernels of a tile takes as long as to compute so many scores, ...
_START_GPU = 1.2e7
# ... hence large tiles, ...
_SCORES_GPU = 2**25
# ... with many rows where there are few sequences, although more of them is outside the band.
_LEAST_ROWS_GPU, _MOST_ROWS_GPU = 64, 512


class Tiling(NamedTuple):
    """How large tiles get."""

    saved_bytes: int = 128 * 2**20  # of weights for the backward pass; others are computed again
    scores: int | None = None  # of a tile; None: as many as suit the device
    as_on_gpu: bool | None = None  # None: where it is computed on one


SUITABLE = Tiling()


class Tile(NamedTuple):
    """A run of queries with the keys that they see between them, for some sequences.

    Rows are queries, columns keys; a sequence is one head of one stream.
    """

    sequences: slice
    queries: slice
    keys: slice
    saves: bool  # its weights for the backward pass

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sequences, rows, columns."""
        return _length(self.sequences), _length(self.queries), _length(self.keys)


def cut(
    sequences: int,
    block: int,
    window: int,
    device: torch.device,
    itemsize: int = 4,
    *,
    saving: bool = True,
    tiling: Tiling = SUITABLE,
) -> list[Tile]:
    """All tiles of a call.

    Args:
        sequences: N, streams times heads.
        block: M, queries.
        window: W, keys that a query sees. Keys are counted from the first that the first one sees.
        device: where they are computed.
        itemsize: bytes of a weight.
        saving: whether there will be a backward pass.
        tiling: how large tiles get.
    """
    on_gpu = _is_gpu(device) if tiling.as_on_gpu is None else tiling.as_on_gpu
    rows = _rows_on_gpu(sequences) if on_gpu else _rows_on_cpu(window)
    queries = [slice(first, min(first + rows, block)) for first in range(0, block, rows)]
    runs = [(run, slice(run.start, run.stop + window - 1)) for run in queries]
    saved = 0
    if saving:  # all weights of the first sequences, none if those of one are too many
        scores = sum(_length(queries) * _length(keys) for queries, keys in runs)
        saved = min(sequences, tiling.saved_bytes // (scores * itemsize))
    scores_at_once = tiling.scores or (_SCORES_GPU if on_gpu else _SCORES_CPU)
    at_once = max(1, scores_at_once // (rows * (rows + window)))
    parts = [
        (slice(first, min(first + at_once, end)), saves)
        for start, end, saves in ((0, saved, True), (saved, sequences, False))
        for first in range(start, end, at_once)
    ]
    return [Tile(part, *run, saves) for run in runs for part, saves in parts]


def group_cost(batch: int, block: int, device: torch.device) -> float:
    """Fixed overhead of one group of heads, in units of one extra key in one head's window.

    Args:
        batch: B, streams.
        block: M.
        device: where they are computed.
    """
    if not _is_gpu(device):
        return _GROUP_COST_ONE_TOKEN_CPU if batch * block == 1 else _GROUP_COST_CPU
    starts = math.ceil(block / _rows_on_gpu(batch)) + 1  # of tiles, and of the projections
    return starts * _START_GPU / (batch * block)


def _rows_on_cpu(window: int) -> int:
    return _ROWS_SHORT if window <= _SHORT else _ROWS_LONG


def _rows_on_gpu(sequences: int) -> int:
    # Starts times M / rows, and scores times M * rows: least in sum where both are equal.
    best: int = 2 ** round(math.log2(_START_GPU / sequences) / 2)
    return min(max(_LEAST_ROWS_GPU, best), _MOST_ROWS_GPU)


def _is_gpu(device: torch.device) -> bool:
    return device.type != "cpu"


def _length(part: slice) -> int:
    return int(part.stop - part.start)
