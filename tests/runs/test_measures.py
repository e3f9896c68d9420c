"""Scores are told in the unit of the data."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from adaspan.data.vocabulary import Vocabulary
from adaspan.runs import figures
from adaspan.runs.figures.rows import is_final, measure_of
from adaspan.runs.folder import RunFolder
from adaspan.runs.measures import BPB, BPC, OF_UNIT, PPL, Measure


@pytest.mark.parametrize(
    ("unit", "value", "told"),
    [("bytes", 2.0, "2.000 bpb"), ("characters", 2.0, "2.000 bpc"), ("words", 4.0, "4.00 ppl")],
)
def test_the_measure_follows_the_unit(unit: str, value: float, told: str) -> None:
    measure = OF_UNIT[unit]
    assert measure.of_nats(math.log(4)) == pytest.approx(value)
    row = {"step": 3, figures.VALID.key(measure): measure.of_nats(math.log(4))}
    assert figures.VALID.told(row) == told
    assert figures.VALID.of(measure).axis == f"{measure.name} on valid"
    assert is_final(row)
    assert measure_of([{"step": 1}, row]) == measure


def test_the_perplexity_of_a_loss_that_is_lost_is_a_number_of_few_digits() -> None:
    assert math.isfinite(PPL.of_nats(1e6))
    assert PPL.written(PPL.of_nats(1e6)) == "1.01e+304"


@pytest.mark.parametrize(
    ("unit", "measure"),
    [("bytes", BPB), ("characters", BPC), (None, BPC)],
    ids=["bytes", "characters", "no_vocabulary"],
)
def test_rows_of_before_are_told_in_the_unit_of_their_vocabulary(
    tmp_path: Path, unit: str | None, measure: Measure
) -> None:
    """Then, every score was called bpc."""
    folder = RunFolder(tmp_path)
    folder.append({"step": 1, "train/bpc": 2.5, "val/bpc": 3.5})
    if unit == "bytes":
        Vocabulary((97, 98), "bytes").write(folder.vocabulary)
    if unit == "characters":
        Vocabulary((97, 98), "characters").write(folder.vocabulary)
    if unit is None:  # not even a vocabulary, but a configuration
        (tmp_path / "config.yaml").write_text("data: {kind: text, symbols: characters}")
    (row,) = folder.rows()
    assert row == {"step": 1, figures.TRAIN.key(measure): 2.5, figures.QUICK.key(measure): 3.5}
