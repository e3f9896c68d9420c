"""The line of text at a run's end: the model's own, beside what really came next."""

from __future__ import annotations

import numpy as np

from adaspan import AdaptiveSpan, Transformer, Vocabulary
from adaspan.train.continuation import continuation_lines

# Token i is the character i of this.
LETTERS = "abcdefghij\n"
VOCABULARY = Vocabulary(tuple(map(ord, LETTERS)), "characters")


def small_model() -> Transformer:
    return Transformer(
        vocabulary_size=len(LETTERS),
        layers=2,
        dim=8,
        heads=2,
        ffn_dim=8,
        make_span=lambda layer: AdaptiveSpan(2, 16, 4, initial_fraction=0.5),
    )


def test_the_model_goes_on_in_the_middle_of_the_text() -> None:
    model = small_model()
    text = (np.arange(500) % 11).astype(np.uint8)
    lines = continuation_lines(model, VOCABULARY, text, seed=1)
    labels, shown = zip(*(line.split(maxsplit=1) for line in lines), strict=True)
    assert labels == ("text", "model", "really")
    assert shown[0] == "…" + ("abcdefghij " * 50)[190:250]
    assert shown[2] == ("abcdefghij " * 50)[250:310]
    written = model.generate(text[:250].astype(np.int64).tolist(), 120, temperature=0.5, seed=1)
    assert shown[1] == " ".join(VOCABULARY.decode(written).split())[:60]
    assert model.training, "as before"


def test_a_text_of_one_token_is_long_enough() -> None:
    text, written, really = continuation_lines(
        small_model(), VOCABULARY, np.array([3], dtype=np.uint8), seed=1
    )
    assert text == "text    …d"
    assert written.startswith("model   ")
    assert really == "really  "
