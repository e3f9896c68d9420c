"""Tiles cover every query of every sequence once, with the keys that it sees."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from adaspan.nn.attention.tiles import Tiling, cut, group_cost

CPU, GPU = torch.device("cpu"), torch.device("meta")  # any but a CPU is cut like a GPU
DEVICES = pytest.mark.parametrize("device", [CPU, GPU], ids=["cpu", "gpu"])


@DEVICES
@pytest.mark.parametrize("saved_bytes", [0, 3_000_000, 2**40])
@pytest.mark.parametrize(
    ("sequences", "block", "window"), [(1, 1, 1), (5, 130, 33), (40, 512, 300), (700, 70, 5000)]
)
def test_every_query_is_in_one_tile_with_all_its_keys(
    sequences: int, block: int, window: int, saved_bytes: int, device: torch.device
) -> None:
    tiles = cut(sequences, block, window, device, tiling=Tiling(saved_bytes))
    covered: Counter[tuple[int, int]] = Counter()
    for tile in tiles:
        for query in range(tile.queries.start, tile.queries.stop):
            assert tile.keys.start <= query
            assert query + window <= tile.keys.stop
            covered.update(
                (sequence, query) for sequence in range(tile.sequences.start, tile.sequences.stop)
            )
    assert len(covered) == sequences * block
    assert set(covered.values()) == {1}
    saved = sum(4 * n * rows * columns for n, rows, columns in (t.shape for t in tiles if t.saves))
    assert saved <= saved_bytes
    assert saved_bytes < 2**40 or all(tile.saves for tile in tiles)


@DEVICES
def test_nothing_is_saved_without_a_backward_pass(device: torch.device) -> None:
    assert not any(tile.saves for tile in cut(4, 64, 32, device, saving=False))


def test_a_gpu_starts_few_tiles_and_groups_where_there_are_few_streams() -> None:
    assert len(cut(8, 512, 40, GPU)) == 1
    assert 1 < len(cut(512, 512, 40, GPU)) <= len(cut(512, 512, 40, CPU))
    assert group_cost(1, 64, GPU) > group_cost(64, 512, GPU) > group_cost(64, 512, CPU)
