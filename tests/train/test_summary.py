"""What a run says of itself in text."""

from __future__ import annotations

import pytest

from adaspan.train.summary import span_picture
from tests.processes import train_here

SHORT = ("train.steps=4", "train.eval_every=2", "optimizer.warmup_steps=0")


@pytest.mark.slow
@pytest.mark.parametrize("data", [(), ("data.symbols=words", "model.cutoffs=[6,20]")])
def test_a_run_of_fixed_spans_saves_nothing(
    tiny: tuple[str, ...], data: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = [o for o in tiny if not o.startswith("span.")]
    train_here(*fixed, *SHORT, *data, "span=fixed", "span.limit=1000")
    lines = capsys.readouterr().out
    assert "\nspan    fixed · limit 1000\n" in lines
    assert "per token executed" in lines
    assert "times as many" not in lines


@pytest.mark.slow
def test_a_run_of_short_spans_says_how_much_they_save(
    tiny: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    attention_alone = ("model.persistent=3", "model.ffn_dim=0")
    late = ("span.limit=1000", "span.initial_fraction=0", "span.penalty_after=4")
    train_here(*tiny, *SHORT, *attention_alone, *late)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith(" · 3 persistent keys a head · no feed-forward") for line in lines)
    assert any(
        line.startswith("span    adaptive · limit 1000 · ramp ")
        and " · initial_fraction 0" in line
        and "share" not in line
        for line in lines
    )
    executed = next(line for line in lines if "executed" in line)
    assert "; fixed span 1000: " in executed
    note = "note    no penalty on spans within train.steps=4: span.penalty_after=4"
    assert lines.count(note) == 1, "which a longer run goes on from"


def test_the_span_picture_shows_each_head_against_the_longest() -> None:
    lines = span_picture([[0, 10, 50, 100], [80, 100, 100, 100]])
    assert lines[0] == "layer 0  ▁▁▅█  mean 40.0  max 100.0"
    assert lines[1] == "layer 1  ▇███  mean 95.0  max 100.0"


def test_spans_that_are_all_zero_have_a_picture_too() -> None:
    assert span_picture([[0.0, 0.0]]) == ["layer 0  ▁▁  mean 0.0  max 0.0"]
