"""Spans by layer, and along a sentence: Figures 4 and 5 of the paper."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from adaspan.files import write_json
from adaspan.report.comparison import Comparison
from adaspan.report.layers import layers
from adaspan.report.token_spans import before_words, token_spans


def test_every_head_of_every_seed_is_a_point_at_its_layer(comparison: Comparison) -> None:
    points = [trace for trace in layers(comparison).data if trace.mode == "markers"]
    learned = [group for group in comparison.done if group.span_kind == "adaptive"]
    assert [trace.name for trace in points] == [group.short_label for group in learned]
    for trace, group in zip(points, learned, strict=True):
        spans = [
            (layer, span)
            for run in group.done
            for layer, heads in enumerate(run.spans()[1][-1].tolist())
            for span in heads
        ]
        assert sorted(map(tuple, trace.customdata.tolist())) == sorted(spans)
        assert np.allclose(np.asarray(trace.y), np.log10(1 + trace.customdata[:, 1]))
        assert np.abs(np.asarray(trace.x) - trace.customdata[:, 0]).max() < 0.5


def test_lines_are_the_means_of_a_layer(comparison: Comparison) -> None:
    line = next(trace for trace in layers(comparison).data if trace.mode == "lines")
    group = next(group for group in comparison.done if group.span_kind == "adaptive")
    means = np.mean([run.spans()[1][-1].mean(1) for run in group.done], axis=0)
    assert np.allclose(np.asarray(line.y), np.log10(1 + means))


@pytest.fixture
def dynamic(comparison: Comparison, tmp_path: Path) -> Comparison:
    """One group, as if its spans were dynamic and its run had left them."""
    write_json(
        tmp_path / "token_spans.json",
        {"text": list("a <b> cd\n"), "spans": [[i, 3.0 * i] for i in range(9)]},
    )
    group = comparison.done[0]
    run = dataclasses.replace(
        group.done[0], path=tmp_path, values={**group.first.values, "span": "dynamic"}
    )
    return dataclasses.replace(comparison, groups=[dataclasses.replace(group, runs=[run])])


def test_a_sentence_has_the_mean_over_layers_above_each_letter(dynamic: Comparison) -> None:
    figure = token_spans(dynamic)
    line, marked = figure.data
    assert np.asarray(line.y).tolist() == [2.0 * i for i in range(9)]
    assert list(figure.layout.xaxis.ticktext) == [*"a·", "&lt;", "b", "&gt;", *"·cd↵"]
    assert np.asarray(marked.x).tolist() == [2, 5]


def test_runs_without_dynamic_spans_have_no_sentence(comparison: Comparison) -> None:
    assert not token_spans(comparison).data


def test_a_word_begins_after_anything_but_a_letter() -> None:
    marks = before_words(list("ab, c_d "))
    assert [at for at, mark in enumerate(marks) if mark] == [3, 5]
