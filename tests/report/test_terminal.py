"""The comparison in a terminal."""

from __future__ import annotations

import dataclasses
import re

import pytest

from adaspan.report.comparison import Comparison
from adaspan.report.terminal import to_text


def test_everything_fits_and_has_no_codes_for_colours(comparison: Comparison) -> None:
    text = to_text(comparison, 0.02, 80, coloured=False)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    best = comparison.done[0]
    assert f"{best.valid:.3f}" in text
    assert "not done: adaptive, limit 24, seed 3: resumable at step 12 of 24" in text
    assert "no room for: tokens/s" in text


def marks(text: str, title: str) -> str:
    """All that stands inside the frame of a plot."""
    (plot,) = (part for part in text.split("\n\n") if title in part)
    return "".join("".join(re.findall("[│┤](.*)│", plot)).split())


def test_each_group_has_its_letter_in_the_plot_of_costs(comparison: Comparison) -> None:
    text = to_text(comparison, 0.02, 100, coloured=False)
    assert sorted(marks(text, "against FLOPs per token, executed")) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("group", "evaluations"), [(0, 4), (2, 4), (4, 3)])
def test_a_curve_has_a_letter_an_evaluation(
    comparison: Comparison, group: int, evaluations: int
) -> None:
    alone = dataclasses.replace(comparison, groups=[comparison.groups[group]])
    text = to_text(alone, 0.02, 80, coloured=False)
    assert marks(text, "quick evaluation, against tokens read") == "a" * evaluations


def test_where_points_meet_the_better_run_is_seen(comparison: Comparison) -> None:
    first, second = comparison.done[1], comparison.done[0]
    same = dataclasses.replace(comparison, groups=[first, dataclasses.replace(first), second])
    text = to_text(same, 0.02, 80, coloured=False)
    assert "c" in marks(text, "against FLOPs per token, executed"), "the best"
    assert "b" not in marks(text, "against FLOPs per token, executed"), "the same as a"
    assert "the letter of the better run" in text


def test_a_seed_that_is_not_done_has_a_curve_beside_the_mean(comparison: Comparison) -> None:
    (group,) = (g for g in comparison.groups if g.done and g.not_done and g.not_done[0].evaluations)
    alone = dataclasses.replace(comparison, groups=[group])
    text = to_text(alone, 0.02, 80, coloured=False)
    mean_only = dataclasses.replace(group, runs=group.done)
    without = to_text(dataclasses.replace(alone, groups=[mean_only]), 0.02, 80, coloured=False)
    title = "quick evaluation, against tokens read"
    assert len(marks(text, title)) > len(marks(without, title))


def test_a_wide_terminal_has_every_column_in_colours(comparison: Comparison) -> None:
    text = to_text(comparison, 0.02, 200, coloured=True)
    assert "tokens/s" in text
    assert "left out" not in text
    assert "\x1b[38;5;" in text


def test_scores_of_any_size_have_short_numbers_along_the_axis(comparison: Comparison) -> None:
    big = [
        dataclasses.replace(
            group,
            runs=[
                dataclasses.replace(run, rows=[*run.rows, {"final/valid_bpb": 135376840.705 + at}])
                for run in group.runs
            ],
        )
        for at, group in enumerate(comparison.done)
    ]
    text = to_text(dataclasses.replace(comparison, groups=big), 0.02, 80, coloured=False)
    (plot,) = (part for part in text.split("\n\n") if "against FLOPs per token" in part)
    assert "135M┤" in plot
    assert "135376840" not in plot
