"""Tensors have the shapes that their names end in, seen while every kind of model is trained."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor

import adaspan.nn
from adaspan.nn.attention import ANYWHERE, attend
from adaspan.nn.span import AdaptiveSpan, DynamicSpan, FixedSpan
from adaspan.nn.transformer import Transformer

NN = str(Path(adaspan.nn.__file__).parent)
SUFFIX = re.compile(r"_([A-Z1-9]{1,5})$")
# In one function these letters have one size; others count a part of something: a group of heads,
# a tile, the keys that are still to come.
ONE_SIZE = "BDFKMV"


def wrong_in(frame: FrameType) -> Iterator[str]:
    sizes: dict[str, int] = {}
    for name, value in frame.f_locals.items():
        match = SUFFIX.search(name)
        tensors = value if isinstance(value, list | tuple) else [value]
        for tensor in tensors if match else []:
            if not isinstance(tensor, Tensor) or not match:
                continue
            shape, letters = tuple(tensor.shape), match[1]
            fits = len(shape) == len(letters) and all(
                size == int(letter) if letter.isdigit() else sizes.setdefault(letter, size) == size
                for letter, size in zip(letters, shape, strict=True)
                if letter.isdigit() or letter in ONE_SIZE
            )
            if not fits:
                yield f"{frame.f_code.co_qualname}: {name} is {shape}"


@pytest.fixture
def watched() -> Iterator[dict[str, set[str]]]:
    """Names that were checked, and those that are wrong, with the shape."""
    seen: dict[str, set[str]] = {"checked": set(), "wrong": set()}

    def on_event(frame: FrameType, event: str, value: Any) -> None:
        if event == "return" and frame.f_code.co_filename.startswith(NN):
            seen["checked"] |= {name for name in frame.f_locals if SUFFIX.search(name)}
            seen["wrong"] |= set(wrong_in(frame))

    sys.setprofile(on_event)
    yield seen
    sys.setprofile(None)


@pytest.mark.parametrize("implementation", ANYWHERE)
def test_names_end_in_the_true_shape(implementation: str, watched: dict[str, set[str]]) -> None:
    torch.manual_seed(0)
    for make_span in (
        lambda _: AdaptiveSpan(4, 90, 3),
        lambda _: DynamicSpan(20, 4, 90, 3),
        lambda _: FixedSpan(4, 90),
    ):
        model = Transformer(
            vocabulary_size=11,
            layers=2,
            dim=20,
            heads=4,
            ffn_dim=7,
            make_span=make_span,
            dropout=0.1,
            attention=implementation,
        )
        for span in model.spans:
            if isinstance(span, AdaptiveSpan):
                span.fraction.data = torch.tensor([0.0, 0.1, 0.9, 0.8])
        caches = None
        for _ in range(2):
            output = model(torch.randint(11, (3, 70)), caches)
            caches = output.caches
            torch.autograd.backward(output.log_probs_BMV.square().mean() + output.penalty)
        model.attention_of(range(9), layer=1, head=2)
    heads = torch.randn(3, 2, 6, 5), torch.randn(3, 2, 8, 5), torch.randn(3, 2, 8, 5)
    persistent = torch.randn(2, 4, 5), torch.randn(2, 4, 5)
    attend(*heads, persistent=persistent, implementation=implementation)
    assert not watched["wrong"]
    of_implementation = {"reference": "weights_BHMC", "banded": "d_score_NIW"}[implementation]
    assert {"hidden_BMD", "cache_BCD", "weight_BHMP", of_implementation} <= watched["checked"]


def helper(queries_BM: Tensor) -> Tensor:
    return queries_BM


def test_a_wrong_name_would_be_seen() -> None:
    found: list[str] = []

    def on_event(frame: FrameType, event: str, value: Any) -> None:
        if event == "return" and frame.f_code.co_name == "helper":
            found.extend(wrong_in(frame))

    sys.setprofile(on_event)
    helper(torch.zeros(3))
    sys.setprofile(None)
    assert found == ["helper: queries_BM is (3,)"]
