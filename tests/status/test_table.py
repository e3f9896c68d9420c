"""The table of runs has what they say of themselves, and no column that is empty."""

from __future__ import annotations

import json
from pathlib import Path

from adaspan.status.state import read_states
from adaspan.status.table import table


def test_a_figure_of_ones_own_is_a_column_where_a_run_has_it(runs_of_before: Path) -> None:
    done, unfinished = sorted(runs_of_before.iterdir(), key=lambda path: len(_lines(path)))[::-1]
    *before, last = _lines(done)
    row = json.dumps({**json.loads(last), "span/entropy": 0.123456})
    (done / "metrics.jsonl").write_text("\n".join([*before, row, ""]))
    states = read_states({done: {}, unfinished: {}})
    assert [state.own for state in states] == [{"span/entropy": 0.123456}, {}]
    columns = {column.header: [*column.cells] for column in table("runs", states).columns}
    assert columns["span/entropy"] == ["0.1235", ""]
    assert "span/entropy" not in {column.header for column in table("runs", states[1:]).columns}


def _lines(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()
