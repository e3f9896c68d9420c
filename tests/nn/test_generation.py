"""Text from a model: that of the readable way, and each choice as it says."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from adaspan.nn.generation import choose
from adaspan.nn.transformer import Transformer
from tests.nn.test_cache import EVERY_SPAN, small_model

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6]
PROBABILITIES = torch.tensor([0.1, 0.4, 0.2, 0.3])


def uncached(model: Transformer, count: int, **sampling: float | None) -> list[int]:
    """The text by reading everything anew for each token."""
    generator = torch.Generator().manual_seed(7)
    tokens = list(PROMPT)
    with torch.no_grad():
        for _ in range(count):
            log_probs_BMV = model(torch.tensor([tokens])).log_probs_BMV
            tokens.append(choose(log_probs_BMV[0, -1], generator, **sampling))  # type: ignore[arg-type]
    return tokens[len(PROMPT) :]


@pytest.mark.slow
@EVERY_SPAN
@pytest.mark.parametrize(
    "sampling",
    [{}, {"temperature": 0}, {"temperature": 0.7, "top_k": 4}, {"top_p": 0.8}],
    ids=lambda sampling: "-".join(sampling) or "all",
)
def test_the_text_is_that_of_the_uncached_reference(
    span: str, sampling: dict[str, float | None]
) -> None:
    model = small_model(span)
    text = list(model.generate(PROMPT, 60, seed=7, **sampling))  # type: ignore[arg-type]
    assert text == uncached(model, 60, **sampling)
    assert len(text) == 60


def test_words_in_clusters_and_persistent_keys_are_written_from_as_well() -> None:
    model = small_model("adaptive", persistent=3, cutoffs=(4, 8))
    assert list(model.generate(PROMPT, 40, seed=7)) == uncached(model, 40)


def test_of_a_long_prompt_all_that_has_a_say_is_read() -> None:
    model = small_model("adaptive")
    prompt = torch.randint(11, (900,))
    assert len(prompt) > model.receptive_field() + 256, (
        "several blocks, and a part that is left out"
    )
    with torch.no_grad():
        likeliest = int(model(prompt[None]).log_probs_BMV[0, -1].argmax())
    assert list(model.generate(prompt, 1, temperature=0)) == [likeliest]


def test_a_seed_is_a_text() -> None:
    model = small_model("adaptive")
    texts = [list(model.generate(PROMPT, 30, seed=seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_text_has_no_end_of_its_own_and_dropout_is_off_meanwhile() -> None:
    model = small_model("adaptive")
    expected = list(itertools.islice(model.generate(PROMPT), 40))
    model.train()
    modes = []
    text = []
    for token in itertools.islice(model.generate(PROMPT), 40):
        text.append(token)
        modes.append(model.training)
    assert text == expected
    assert all(modes), "left as it was"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"tokens": []}, "tokens: must not be empty"),
        ({"tokens": [11]}, "token=11: must be 0 to 10"),
        ({"tokens": "text"}, "tokens: must be token ids, is a str"),
        ({"count": -1}, "count=-1: must be a whole number, at least 0"),
        ({"temperature": -0.1}, "temperature=-0.1: must be a finite number, at least 0"),
        ({"top_k": 0}, "top_k=0: must be a whole number, at least 1"),
        ({"top_p": 0.0}, "top_p=0.0: must be a finite number above 0"),
        ({"top_p": 1.1}, "top_p=1.1: must be at most 1"),
        ({"seed": -1}, "seed=-1: must be 0 to 9223372036854775807"),
    ],
)
def test_a_wrong_value_is_named_at_once(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        small_model("adaptive").generate(**{"tokens": PROMPT, **arguments})  # type: ignore[arg-type]


def frequencies(**sampling: float | None) -> list[float]:
    generator = torch.Generator().manual_seed(0)
    drawn = [
        choose(PROBABILITIES.log(), generator, **sampling)  # type: ignore[arg-type]
        for _ in range(4000)
    ]
    return [drawn.count(token) / 4000 for token in range(4)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({}, [0.1, 0.4, 0.2, 0.3]),
        ({"temperature": 0}, [0, 1, 0, 0]),
        ({"temperature": 0.5}, [0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3]),
        ({"top_k": 1}, [0, 1, 0, 0]),
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_k": 9}, [0.1, 0.4, 0.2, 0.3]),
        ({"top_p": 0.3}, [0, 1, 0, 0]),
        ({"top_p": 0.65}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_p": 0.71}, [0, 4 / 9, 2 / 9, 3 / 9]),
    ],
    ids=str,
)
def test_tokens_come_as_often_as_they_should(
    sampling: dict[str, float | None], expected: list[float]
) -> None:
    assert frequencies(**sampling) == pytest.approx(expected, abs=0.03)


def test_what_cannot_come_never_comes() -> None:
    log_probs = torch.tensor([-torch.inf, 0.0, -torch.inf])
    generator = torch.Generator().manual_seed(0)
    assert {choose(log_probs, generator) for _ in range(200)} == {1}


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1e-310, 5e-324])
def test_next_to_no_temperature_is_as_none(temperature: float) -> None:
    log_probs = torch.tensor([0.2, 0.5, 0.3]).log()
    generator = torch.Generator().manual_seed(1)
    assert {choose(log_probs, generator, temperature) for _ in range(20)} == {1}


@pytest.mark.slow
@torch.no_grad()
def test_a_token_costs_the_same_after_100_and_10000() -> None:
    model = small_model("adaptive", layers=1).float()
    writing = model.generate(PROMPT)
    costs = {}
    for written in range(1_001):
        if written in (100, 1_000):
            costs[written] = flops_of(lambda: next(writing))
        else:
            next(writing)
    caches = model.key_value_caches()
    for block_1M in torch.randint(11, (1, 10_000)).split(250, dim=1):  # sooner than one by one
        model(block_1M, caches)
    costs[10_000] = flops_of(lambda: model(block_1M[:, -1:], caches))
    assert len(costs) == 3
    assert len(set(costs.values())) == 1, costs


def flops_of(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()
