"""Adaptive input and output: the same probabilities as a plain reading of the formulas."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adaspan.config.kinds.span import AdaptiveSpanConfig
from adaspan.config.schema import ModelConfig
from adaspan.nn.adaptive_io import AdaptiveEmbedding, AdaptiveSoftmax, Clusters
from adaspan.nn.transformer import Transformer
from adaspan.train.build import make_model

VOCABULARY, DIM, CUTOFFS = 40, 32, (6, 14, 30)
TIED = pytest.mark.parametrize("tied", [False, True], ids=["own", "tied"])


def layers(tied: bool) -> tuple[AdaptiveEmbedding, AdaptiveSoftmax]:
    torch.manual_seed(0)
    clusters = Clusters(VOCABULARY, DIM, CUTOFFS, divisor=2)
    embedding = AdaptiveEmbedding(clusters).double()
    return embedding, AdaptiveSoftmax(clusters, embedding if tied else None).double()


def model_of(**shape: Any) -> Transformer:
    torch.manual_seed(0)
    given = {"layers": 2, "dim": 16, "heads": 2, "ffn_dim": 16, "cutoffs": [4, 9], "divisor": 2}
    span = AdaptiveSpanConfig(limit=12, ramp=3, loss_coefficient=0.1)
    return make_model(ModelConfig(**{**given, **shape}), span, 20).double()


def test_a_word_is_its_clusters_vector_projected_and_scaled() -> None:
    embedding, _ = layers(tied=False)
    state = embedding.state_dict()
    hidden_BMD = embedding(torch.arange(VOCABULARY).view(4, 10))
    for cluster, (start, end) in enumerate(pairwise([0, *CUTOFFS, VOCABULARY])):
        words_NK = state[f"words.{cluster}.weight"]
        assert words_NK.shape == (end - start, DIM // 2**cluster)
        expected_ND = words_NK @ state[f"projections.{cluster}.weight"].T * math.sqrt(DIM)
        torch.testing.assert_close(hidden_BMD.flatten(0, 1)[start:end], expected_ND)


@TIED
def test_costs_are_those_of_the_log_probabilities_gradients_included(tied: bool) -> None:
    _, softmax = layers(tied)
    hidden_BMD = torch.randn(3, 50, DIM, dtype=torch.float64, requires_grad=True)
    targets_BM = torch.randint(VOCABULARY, (3, 50))
    log_probs_BMV = softmax(hidden_BMD)
    torch.testing.assert_close(log_probs_BMV.exp().sum(-1), torch.ones(3, 50).double())
    expected_BM = -log_probs_BMV.gather(-1, targets_BM[..., None]).squeeze(-1)
    found_BM = softmax.nats(hidden_BMD, targets_BM)
    torch.testing.assert_close(found_BM, expected_BM)
    learned = [hidden_BMD, *softmax.parameters()]
    for found, expected in zip(
        torch.autograd.grad(found_BM.square().sum(), learned),
        torch.autograd.grad(expected_BM.square().sum(), learned),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


def test_the_untied_output_is_torchs() -> None:
    """Which projects no word of cluster 0, and has no bias in the others."""
    _, softmax = layers(tied=False)
    theirs = nn.AdaptiveLogSoftmaxWithLoss(
        DIM, VOCABULARY, list(CUTOFFS), div_value=2.0, head_bias=True
    ).double()
    ours = softmax.state_dict()
    with torch.no_grad():
        ours["projections.0.weight"].copy_(torch.eye(DIM))
        for part in ("weight", "bias"):
            head = torch.cat([ours[f"words.0.{part}"], ours[f"others.{part}"]])
            theirs.state_dict()[f"head.{part}"].copy_(head)
        for i in range(1, 4):
            ours[f"words.{i}.bias"].zero_()
            tail = theirs.tail[i - 1].state_dict()
            tail["0.weight"].copy_(ours[f"projections.{i}.weight"].T)
            tail["1.weight"].copy_(ours[f"words.{i}.weight"])
    hidden_BMD = torch.randn(2, 30, DIM, dtype=torch.float64, requires_grad=True)
    targets_BM = torch.randint(VOCABULARY, (2, 30))
    expected = theirs(hidden_BMD.flatten(0, 1), targets_BM.flatten())
    found_BM = softmax.nats(hidden_BMD, targets_BM)
    torch.testing.assert_close(-found_BM.flatten(), expected.output)
    torch.testing.assert_close(
        softmax(hidden_BMD).flatten(0, 1), theirs.log_prob(hidden_BMD.flatten(0, 1))
    )
    (ours_BMD,) = torch.autograd.grad(found_BM.mean(), hidden_BMD)
    (theirs_BMD,) = torch.autograd.grad(expected.loss, hidden_BMD)
    torch.testing.assert_close(ours_BMD, theirs_BMD)


@TIED
def test_a_cluster_without_words_has_a_gradient_of_zero(tied: bool) -> None:
    """Not none: processes that train together average the gradients of the same tensors."""
    model = model_of(tied=tied)
    tokens = torch.zeros(2, 8, dtype=torch.long)
    model(tokens, targets_BM=tokens).nats_BM.mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    unused = dict(model.named_parameters())["embedding.words.2.weight"]
    assert unused.grad is not None
    assert not unused.grad.any()


def test_tied_layers_share_vectors_and_projections() -> None:
    own, tied = model_of(), model_of(tied=True)
    count = sum(parameter.numel() for parameter in own.embedding.parameters())
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (own, tied)]
    assert counts[0] - counts[1] == count
    again = model_of(tied=True)
    again.load_state_dict(tied.state_dict())
    shared = [again.get_submodule(f"{of}.words.1").weight for of in ("output", "embedding")]
    assert shared[0] is shared[1]


@TIED
def test_a_model_with_clusters_reads_and_generates(tied: bool) -> None:
    """Block by block, and with cached keys and values, as in one long reading."""
    model = model_of(tied=tied)
    tokens = torch.randint(20, (2, 30))
    whole = model(tokens).log_probs_BMV
    caches, parts = None, []
    for block in tokens.split(10, dim=1):
        output = model(block, caches)
        caches = output.caches
        parts.append(output.log_probs_BMV)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    assert list(model.generate(tokens[0, :3], 5, temperature=0.0)) == list(
        model.generate(tokens[0, :3], 5, temperature=0.0, seed=2)
    )


class _Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that is made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.numbers = max(self.numbers, leaf.numel())
        return made


@pytest.mark.slow
@TIED
def test_the_loss_of_267735_words_never_makes_them_all_for_every_token(tied: bool) -> None:
    vocabulary, batch, block = 267_735, 2, 64
    clusters = Clusters(vocabulary, 64, [20_000, 40_000, 200_000], divisor=4)
    embedding = AdaptiveEmbedding(clusters)
    softmax = AdaptiveSoftmax(clusters, embedding if tied else None)
    # As words are: the n-th as often as 1 / n.
    ranks = torch.exp(torch.rand(batch, block + 1) * math.log(vocabulary)).long()
    tokens = ranks.clamp(max=vocabulary) - 1
    assert tokens.max() >= 200_000, "every cluster has some"
    with _Largest() as largest:
        softmax.nats(embedding(tokens[:, :-1]), tokens[:, 1:]).mean().backward()
    every = batch * block * vocabulary
    assert batch * block * 20_003 <= largest.numbers < every / 10
    with _Largest() as largest, torch.no_grad():
        softmax(embedding(tokens[:1, :8]))
    assert largest.numbers == 8 * vocabulary, "which would be seen"


@pytest.mark.parametrize(
    ("cutoffs", "divisor", "message"),
    [
        ([5, 40], 4, r"cutoffs=\[5, 40\]: must rise, above 0 and below the 40 words"),
        ([9, 5], 4, r"cutoffs=\[9, 5\]: must rise"),
        ([0, 5], 4, r"cutoffs=\[0, 5\]: must rise"),
        ([5, 10, 20], 4, "divisor=4: leaves cluster 3 no width of dim=32"),
        ([5], 0, "divisor=0: must be a whole number, at least 1"),
    ],
)
def test_clusters_that_cannot_be_are_refused(
    cutoffs: list[int], divisor: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Clusters(VOCABULARY, DIM, cutoffs, divisor)
    with pytest.raises(ValueError, match="tied=True: works only with cutoffs"):
        model_of(cutoffs=[], tied=True)
