"""What slices of valid cost a run, as its folder keeps it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adaspan.errors import RunError
from adaspan.runs.folder import RunFolder
from adaspan.runs.measures import BPB
from adaspan.runs.slices import Slices, count_of_slices, read_slices, slice_of
from tests.processes import rows, train_here

FindFolder = Callable[[], Path]


@pytest.mark.parametrize("length", [1, 7, 499, 701, 12_345, 200_000])
def test_every_token_is_in_one_slice_and_slices_are_equal(length: int) -> None:
    count = count_of_slices(length)
    of_token = slice_of(np.arange(length), length, count)
    assert np.bincount(of_token, minlength=count).tolist() == (
        Slices(length, np.zeros(count)).tokens.tolist()
    )
    assert count == 1 or length / count >= 500
    assert count <= 100


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "slices.json"
    assert read_slices(path) is None, "of a run of an earlier version"
    written = Slices(10, np.array([0.1, 1 / 3]))
    written.write(path)
    found = read_slices(path)
    assert found is not None
    assert (found.length, found.nats.tolist()) == (10, [0.1, 1 / 3])
    path.write_text('{"length": 10}')
    with pytest.raises(RunError, match=r"slices.json: damaged"):
        read_slices(path)


def test_a_run_keeps_those_of_its_score(tiny: tuple[str, ...], run_folder: FindFolder) -> None:
    train_here(*tiny, "train.steps=2", "train.eval_every=2")
    slices = read_slices(RunFolder(run_folder()).slices)
    assert slices is not None
    nats = slices.nats.sum() / slices.length
    assert BPB.of_nats(nats) == pytest.approx(rows(run_folder())[-1]["final/valid_bpb"], rel=1e-12)
