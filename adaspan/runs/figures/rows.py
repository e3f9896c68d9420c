"""What a row of metrics holds, under the keys of today, whenever it was written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from adaspan.runs.figures import BEST, HEAD_SPAN, LAST, QUICK, SCORES, VALID, Row, declared
from adaspan.runs.measures import BPB, BPC, MEASURES, Measure

HEAD = re.compile(HEAD_SPAN.key.replace("LL", r"(\d+)").replace("H", r"(\d+)"))
# Keys of rows that were written before each figure had one name, and what they are called now.
_RENAMED = {
    "val/bpc": QUICK.key(BPC),
    "best/val_bpc": BEST.key(BPC),
    "last/val_bpc": LAST.key(BPC),
}
# Bits a byte were once called bpc, too.
_BYTES_RENAMED = {score.key(BPC): score.key(BPB) for score in SCORES}


def measure_of(rows: Iterable[Mapping[str, Any]]) -> Measure | None:
    """The measure of the scores in a run's rows; None before the first."""
    keys = {score.key(measure): measure for measure in MEASURES for score in SCORES}
    return next((keys[key] for row in rows for key in row if key in keys), None)


def head_span_key(layer: int, head: int) -> str:
    """Where a row of an evaluation has one head's span, in tokens."""
    return HEAD_SPAN.key.replace("LL", f"{layer:02d}").replace("H", str(head))


def head_spans(row: Mapping[str, Any]) -> list[tuple[int, int, float]]:
    """Layer, head and span in tokens of every head; empty for a row that is no evaluation's."""
    matches = ((HEAD.fullmatch(key), value) for key, value in row.items())
    return sorted((int(match[1]), int(match[2]), value) for match, value in matches if match)


def is_final(row: Mapping[str, Any]) -> bool:
    """Whether this is the row of the final evaluation, which has the last step's number, too."""
    return VALID.value(row) is not None


def without_evaluation(row: Row) -> Row:
    """A row of training as it is where nothing is evaluated."""
    logged = {figure.key for figure in declared() if "log" in figure.rows}
    return {key: value for key, value in row.items() if key in logged}


def with_present_keys(row: Row, unit_of: Callable[[], str | None]) -> Row:
    """A row under the keys of today, whenever it was written.

    Args:
        row: as it stands in the file.
        unit_of: what the tokens of the run are; called only where it matters.
    """
    if _RENAMED.keys() & row.keys():
        row = {_RENAMED.get(key, key): value for key, value in row.items()}
    if _BYTES_RENAMED.keys() & row.keys() and unit_of() == "bytes":
        row = {_BYTES_RENAMED.get(key, key): value for key, value in row.items()}
    return row
