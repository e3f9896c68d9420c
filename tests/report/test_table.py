"""What a person reads of a group, and where each run stands."""

from __future__ import annotations

import dataclasses

from adaspan.report.comparison import Comparison
from adaspan.report.table import standing_of, state_of, table_of, text_of, unfinished
from tests.report.conftest import ODD


def test_quick_evaluations_stand_in_a_column_of_their_own(comparison: Comparison) -> None:
    table = table_of(comparison)
    by_group = dict(zip((group.label for group in comparison.groups), table.rows, strict=True))
    half_done = by_group["span=adaptive span.limit=24"]
    failed = by_group[f"span=adaptive span.limit={ODD}"]
    assert half_done["final/valid_bpb"] is not None
    assert half_done["valid/bpb"] is None
    assert failed["final/valid_bpb"] is failed["span/mean"] is failed["seconds"] is None
    (run,) = comparison.groups[-1].runs
    assert failed["valid/bpb"] == run.rows[-1]["valid/bpb"]


def test_groups_say_how_many_seeds_they_stand_on(comparison: Comparison) -> None:
    table = table_of(comparison)
    seeds = [column.key for column in table.columns].index("seeds_done")
    assert [row[seeds] for row in table.texts()] == ["1", "1", "2 of 3", "2 of 3", "0 of 1"]
    assert [state_of(group) for group in comparison.groups] == [
        "done",
        "done",
        "2 done, 1 waiting",
        "2 done, 1 resumable",
        "failed",
    ]


def test_what_is_not_done_says_how_far_it_got_and_why_no_further(comparison: Comparison) -> None:
    waiting, stopped, failed = (standing_of(run) for _, run in unfinished(comparison))
    assert waiting == "waiting"
    assert stopped.startswith("resumable at step 12 of 24, quick ")
    assert failed.startswith("failed at step 18 of 24, quick ")
    assert failed.endswith(f": code: KeyError: {ODD}")


def test_a_figure_that_nobody_declared_stands_under_its_key(comparison: Comparison) -> None:
    group = comparison.done[0]
    runs = [
        dataclasses.replace(run, rows=[*run.rows[:-1], {**run.rows[-1], "own/loss": 0.0123}])
        for run in group.done
    ]
    own = dataclasses.replace(comparison, runs=runs, groups=[dataclasses.replace(group, runs=runs)])
    table = table_of(own)
    (column,) = (column for column in table.columns if column.key == "own/loss")
    assert (column.title, text_of(column, table.rows[0])) == ("own/loss", "0.0123")
    assert "own/loss" in table.keys
