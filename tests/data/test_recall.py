"""A stream whose symbols recur at known distances: what it is, and what context is worth."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from adaspan.config.kinds.data import RecallDataConfig, corpus_of
from adaspan.data.recall import RecallSource, entropy_nats
from adaspan.errors import UserError
from adaspan.nn.span import AdaptiveSpan
from adaspan.nn.transformer import Transformer
from tests.conftest import compose_run

LONG = 200_000


def symbols(source: RecallSource) -> np.ndarray:
    return np.frombuffer(source.read(), np.uint8)


def repeats(stream: np.ndarray, distance: int) -> float:
    """How often a symbol is the one so far back."""
    return float((stream[distance:] == stream[:-distance]).mean())


def test_the_same_values_give_the_same_stream_on_every_machine() -> None:
    stream = RecallSource([48, 5], [0.5, 0.25], alphabet=8, length=10_000, seed=1).read()
    assert stream[:40] == b"eabgcfcagadcgaffddbcgbefhgbahhgaaghceahb"
    assert hashlib.sha256(stream).hexdigest().startswith("8a4a4301d81b")


@pytest.mark.parametrize("change", [{"seed": 2}, {"kept": [0.79]}, {"distances": [47]}])
def test_another_value_gives_another_stream_and_key(change: dict[str, object]) -> None:
    values = {"distances": [48], "kept": [0.8], "alphabet": 8, "length": 1000, "seed": 1}
    one, other = RecallSource(**values), RecallSource(**values | change)  # type: ignore[arg-type]
    assert one.read() != other.read()
    assert one.key() != other.key()


def test_symbols_recur_at_their_distance_and_are_else_drawn_uniformly() -> None:
    stream = symbols(RecallSource([48], [0.8], alphabet=8, length=LONG, seed=1))
    assert repeats(stream, 48) == pytest.approx(0.8 + 0.2 / 8, abs=0.005)
    for distance in (1, 24, 47, 49):
        assert repeats(stream, distance) == pytest.approx(1 / 8, abs=0.01)
    counts = np.bincount(stream)[ord("a") :]
    assert counts / LONG == pytest.approx(np.full(8, 1 / 8), abs=0.01)


def test_several_distances_share_the_symbols() -> None:
    stream = symbols(RecallSource([7, 50], [0.3, 0.5], alphabet=62, length=LONG, seed=1))
    now, near, far = stream[50:], stream[43:-7], stream[:-50]
    differ = near != far
    assert (now == near)[differ].mean() == pytest.approx(0.3 + 0.2 / 62, abs=0.01)
    assert (now == far)[differ].mean() == pytest.approx(0.5 + 0.2 / 62, abs=0.01)
    assert len(set(stream.tolist())) == 62


@pytest.mark.parametrize(("kept", "alphabet"), [(0.8, 8), (0.5, 62), (0.0, 4), (1.0, 2)])
def test_the_best_predictor_of_one_distance_pays_the_entropy_of_its_formula(
    kept: float, alphabet: int
) -> None:
    stream = symbols(RecallSource([20], [kept], alphabet, length=LONG, seed=1))
    other = (1 - kept) / alphabet
    parts = [kept + other, *[other] * (alphabet - 1)]
    entropy = -math.fsum(part * math.log(part) for part in parts if part)
    assert entropy_nats(stream, [20], [kept], alphabet) == pytest.approx(entropy, abs=0.01)


def test_the_best_predictor_of_several_distances_weighs_what_each_says() -> None:
    stream = np.array([0, 1, 1, 0], np.uint8)
    probabilities = [  # 0.1 is each symbol's part of what is drawn
        0.1 + 0.3 / 2 + 0.5 / 2,  # nothing is known: both alike
        0.1 + 0.5 / 2,  # 1 back is the other symbol, 2 back nothing
        0.1 + 0.3,  # 1 back is the same, 2 back the other
        0.1,  # both are the other
    ]
    least = entropy_nats(stream, [1, 2], [0.3, 0.5], alphabet=2)
    assert least == pytest.approx(-np.log(probabilities).mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "line"),
    [
        (["data.distances=[0]"], "data.distances=0: must be at least 1"),
        (["data.distances=[]", "data.kept=[]"], "data.distances=[]: must have at least one"),
        (
            ["data.length=960"],
            "data.distances=48: must be below 48, the symbols of valid and of test; "
            "data.length=980 has enough",
        ),
        (["data.distances=[3,4]"], "data.kept=[0.8]: must have as many as data.distances=[3, 4]"),
        (["data.kept=[1.1]"], "data.kept=[1.1]: must be at least 0 each and at most 1 together"),
        (["data.kept=[-0.1]"], "data.kept=[-0.1]: must be at least 0 each and at most 1 together"),
        (["data.kept=[nan]"], "data.kept=[nan]: must be at least 0 each and at most 1 together"),
        (["data.alphabet=63"], "data.alphabet=63: must lie between 2 and 62"),
        (["data.length=0"], "data.length=0: must be at least 1"),
        (["data.seed=-1"], "data.seed=-1: must be at least 0"),
    ],
)
def test_a_stream_that_cannot_be_is_refused_in_one_line(
    values: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        compose_run("data=recall", *values)
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines() == [f"adaspan: error: {line}"]


def test_a_stream_that_is_too_short_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    run = compose_run("data=recall", "data.length=300", "data.distances=[3]")
    corpus = corpus_of(run.data, tmp_path)
    with pytest.raises(UserError, match=r"data=recall: the text is too short: .* valid 15,"):
        corpus.require_blocks(run.data.typed, run.train.batch_size, run.train.block_size)


def test_its_configuration_names_it_and_knows_what_the_best_predictor_pays(tmp_path: Path) -> None:
    data = compose_run("data=recall", "data.length=20000").data
    assert isinstance(data, RecallDataConfig)
    corpus = corpus_of(data, tmp_path)
    assert (data.name, corpus.name) == ("recall48", "recall48")
    assert data.entropy_nats(corpus.train) == pytest.approx(1.16 * math.log(2), abs=0.03)
    assert compose_run().data.entropy_nats(corpus.train) is None


@pytest.mark.parametrize(("span", "is_seen"), [(30.0, False), (30.5, True)])
def test_a_head_sees_what_it_needs_once_span_and_ramp_exceed_k_less_two(
    span: float, is_seen: bool
) -> None:
    distance, ramp, limit = 48, 16, 128
    model = Transformer(
        vocabulary_size=8,
        layers=1,
        dim=16,
        heads=1,
        ffn_dim=16,
        make_span=lambda layer: AdaptiveSpan(1, limit, ramp, 0.0, span / limit),
    ).eval()
    tokens_BM = torch.randint(8, (1, 100))
    changed_BM = tokens_BM.clone()
    changed_BM[0, -distance] = (tokens_BM[0, -distance] + 1) % 8  # the next symbol may repeat it
    before, after = (model(tokens).log_probs_BMV[0, -1] for tokens in (tokens_BM, changed_BM))
    assert torch.equal(before, after) is not is_seen
