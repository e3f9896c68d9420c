"""What a run says of itself in text."""

from adaspan.train.summary import span_picture


def test_the_span_picture_shows_each_head_against_the_longest() -> None:
    lines = span_picture([[0, 10, 50, 100], [80, 100, 100, 100]])
    assert lines[0] == "layer 0  ▁▁▅█  mean 40.0  max 100.0"
    assert lines[1] == "layer 1  ▇███  mean 95.0  max 100.0"


def test_spans_that_are_all_zero_have_a_picture_too() -> None:
    assert span_picture([[0.0, 0.0]]) == ["layer 0  ▁▁  mean 0.0  max 0.0"]
