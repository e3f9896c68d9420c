"""The spans of the tokens of a sentence, which the report draws."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from adaspan.config.kinds.span import DynamicSpanConfig
from adaspan.config.schema import ModelConfig
from adaspan.data.vocabulary import Vocabulary
from adaspan.train.build import make_model
from adaspan.train.token_spans import token_spans
from tests.conftest import TINY
from tests.processes import train_here

VOCABULARY = Vocabulary(tuple(b" .abcdefgh"), "bytes")


def test_spans_are_those_that_the_tokens_have_in_their_text() -> None:
    """Read at once, with all heads' spans taken where each layer computes them."""
    torch.manual_seed(0)
    span = DynamicSpanConfig(limit=64, ramp=4, loss_coefficient=0, initial_bias=-1)
    model = make_model(ModelConfig(2, 16, 4, 32), span, len(VOCABULARY)).double().eval()
    text = "..." * 100 + "abc de fgh " * 10 + "..." * 40
    tokens = np.array(VOCABULARY.encode(text), dtype=np.uint8)
    found = token_spans(model, tokens, VOCABULARY)

    start = text.index("abc")
    assert "".join(found.text) == text[start : start + 100], "prose, from the start of a word"
    seen: list[Tensor] = []
    for layer in model.spans:
        layer.register_forward_hook(lambda _module, _given, z: seen.append(z))
    model(torch.as_tensor(tokens[start - 256 : start + 100].astype(int))[None])
    expected = torch.stack([z[0].mean(0)[256:] for z in seen], dim=1)
    torch.testing.assert_close(torch.tensor(found.spans).double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("length", [3, 40, 120])
def test_a_short_text_is_shown_as_far_as_it_goes(length: int) -> None:
    span = DynamicSpanConfig(limit=8, ramp=4, loss_coefficient=0)
    model = make_model(ModelConfig(1, 16, 4, 32), span, len(VOCABULARY)).eval()
    found = token_spans(model, np.full(length, 3, dtype=np.uint8), VOCABULARY)
    assert found.text == ["b"] * min(100, length - length // 2)
    assert len(found.spans) == len(found.text)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dynamic", "adaptive"])
def test_a_run_of_dynamic_spans_leaves_them_in_its_folder(
    kind: str, text: Path, tmp_path: Path, run_folder: Callable[[], Path]
) -> None:
    common = [value for value in TINY if "initial_fraction" not in value]
    own = (f"span={kind}", "train.steps=4", "data=text", f"data.path={text}")
    train_here(*own, *common, f"data_dir={tmp_path}", f"output_dir={tmp_path / 'runs'}", own[1])
    file = run_folder() / "token_spans.json"
    assert file.exists() is (kind == "dynamic")
    if file.exists():
        found = json.loads(file.read_text())
        assert "".join(found["text"]) in text.read_text()
        assert np.array(found["spans"]).shape == (len(found["text"]), 2)
