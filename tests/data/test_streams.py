"""Contiguous streams, cut into blocks, around and around."""

import numpy as np
import torch

from adaspan.data.streams import Cursor, Streams

TOKENS = np.arange(103, dtype=np.uint8)


def streams(seed: int = 1, rows: slice = slice(0, 4)) -> Streams:
    return Streams(TOKENS, batch_size=4, block_size=7, seed=seed, rows=rows)


def test_blocks_follow_each_other_and_targets_are_one_token_on() -> None:
    reading = streams()
    first, second = reading.next_block(), reading.next_block()
    assert first.inputs_BM.tolist() == [list(range(25 * b, 25 * b + 7)) for b in range(4)]
    assert torch.equal(first.targets_BM[:, :-1], first.inputs_BM[:, 1:])
    assert torch.equal(second.inputs_BM[:, 0], first.targets_BM[:, -1])
    assert first.inputs_BM.dtype == torch.int64
    assert (first.past, second.past) == (0, first.inputs_BM.shape[1])


def test_wrapping_around_starts_anew_at_an_offset_within_a_block() -> None:
    reading = streams()
    offsets = []
    for _ in range(60):
        block = reading.next_block()
        assert block.targets_BM.max() < 100  # never beyond the last stream
        if not block.past:
            offsets.append(int(block.inputs_BM[0, 0]))
    assert all(offset < 7 for offset in offsets)
    assert len(set(offsets)) > 1


def test_offsets_depend_on_seed_and_epoch_only_and_never_change() -> None:
    def offsets(seed: int) -> list[int]:
        reading = streams(seed)
        blocks = [reading.next_block() for _ in range(40)]
        return [int(block.inputs_BM[0, 0]) for block in blocks[1:] if not block.past]

    assert offsets(1) == offsets(1)
    assert offsets(1) != offsets(2)
    assert offsets(1)[:6] == [2, 3, 5, 6, 5, 3]  # golden: the same on every machine


def test_reading_goes_on_from_a_position() -> None:
    reading = streams()
    for _ in range(9):
        reading.next_block()
    again = streams()
    again.cursor = Cursor(reading.cursor.epoch, reading.cursor.offset)
    for _ in range(9):
        assert torch.equal(again.next_block().inputs_BM, reading.next_block().inputs_BM)


def test_processes_read_disjoint_rows_of_the_same_streams() -> None:
    whole, upper, lower = streams(), streams(rows=slice(0, 2)), streams(rows=slice(2, 4))
    for _ in range(12):
        parts = torch.cat([upper.next_block().inputs_BM, lower.next_block().inputs_BM])
        assert torch.equal(whole.next_block().inputs_BM, parts)


def test_a_stream_of_just_one_block_wraps_every_time() -> None:
    reading = Streams(TOKENS[:32], batch_size=4, block_size=7, seed=1, rows=slice(0, 4))
    assert [reading.next_block().past for _ in range(3)] == [0, 0, 0]
    assert reading.cursor.epoch == 2


def test_a_block_knows_how_much_of_its_stream_precedes_it_however_reading_began() -> None:
    reading, first = streams(), 0
    for _ in range(40):
        again = streams()
        again.cursor = Cursor(reading.cursor.epoch, reading.cursor.offset)
        block = reading.next_block()
        token = int(block.inputs_BM[0, 0])
        if reading.cursor.offset < 2 * 7:
            first = token  # of this epoch
        assert block.past == again.next_block().past == token - first
