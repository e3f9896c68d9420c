"""Embedding and output layer for many words: rare ones get narrower vectors and share clusters.

Ids are sorted by count, the most frequent first; `cutoffs` divide them into clusters. Cluster i has
vectors of width D / divisor^i. The output layer first chooses among the words of cluster 0 and the
other clusters, then, within such a cluster, a word (Grave et al. 2017, "Efficient softmax
approximation for GPUs"; the embedding: Baevski and Auli 2019, "Adaptive input representations").
The cost of a target needs the logits of its own cluster only: no array (B, M, V) is made.

Under the names of the public code: `AdaptiveSoftmax` is ProjectedAdaptiveLogSoftmax.

How many words of a block are in which cluster must be known on the CPU: on a GPU, each of the two
layers waits for it once a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adaspan.nn.checks import check_counts


class Clusters:
    """How a vocabulary is divided.

    Args:
        vocabulary_size: V.
        dim: D, width of cluster 0.
        cutoffs: the first id of each cluster but cluster 0.
        divisor: by which each cluster is narrower than the one before.

    Raises:
        ValueError: a value is out of its range, or a cluster has no width left.
    """

    def __init__(
        self, vocabulary_size: int, dim: int, cutoffs: Sequence[int], divisor: int
    ) -> None:
        check_counts(vocabulary_size=vocabulary_size, dim=dim, divisor=divisor)
        ends = [*cutoffs, vocabulary_size]
        if not cutoffs or any(end <= start for start, end in zip([0, *cutoffs], ends, strict=True)):
            raise ValueError(
                f"cutoffs={list(cutoffs)}: must rise, above 0 and below the {vocabulary_size} words"
            )
        self.starts = [0, *cutoffs]
        self.sizes = [end - start for start, end in zip(self.starts, ends, strict=True)]
        self.widths: list[int] = [dim // divisor**i for i in range(len(self.starts))]
        if self.widths[-1] < 1:
            raise ValueError(
                f"divisor={divisor}: leaves cluster {self.widths.index(0)} no width of dim={dim}"
            )

    def most_macs(self) -> int:
        """Multiply-accumulates of embedding a token and of its cost as a target, forward, whichever
        tokens they are.
        """
        dim, *widths = self.widths
        head = dim * (dim + self.sizes[0] + len(widths))
        tails = [w * (dim + size) for w, size in zip(widths, self.sizes[1:], strict=True)]
        return dim * dim + head + max(tails)

    def counts(self, tokens: Tensor) -> list[int]:
        """How many of some tokens are in each cluster; waits for their device."""
        counts: list[int] = self.of(tokens).flatten().bincount(minlength=len(self.sizes)).tolist()
        return counts

    def of(self, tokens: Tensor) -> Tensor:
        """The cluster of each token."""
        cluster = torch.zeros_like(tokens, dtype=torch.int64)
        for start in self.starts[1:]:
            cluster += tokens >= start
        return cluster


class AdaptiveEmbedding(nn.Module):
    """A vector of its cluster's width for each word, projected to D.

    Args:
        clusters: of the vocabulary.
    """

    def __init__(self, clusters: Clusters) -> None:
        super().__init__()
        self.clusters = clusters
        dim = clusters.widths[0]
        self.words = nn.ModuleList(
            nn.Embedding(size, width)
            for size, width in zip(clusters.sizes, clusters.widths, strict=True)
        )
        self.projections = nn.ModuleList(
            nn.Linear(width, dim, bias=False) for width in clusters.widths
        )

    def macs(self, tokens_BM: Tensor) -> int:
        """Multiply-accumulates of embedding these tokens; waits for their device."""
        widths = self.clusters.widths
        counts = self.clusters.counts(tokens_BM)
        return sum(n * width * widths[0] for n, width in zip(counts, widths, strict=True))

    def forward(self, tokens_BM: Tensor) -> Tensor:
        """(B, M, D), times the root of D, of the type of the weights."""
        tokens_T = tokens_BM.flatten()
        order_T = self.clusters.of(tokens_T).argsort(stable=True)
        parts = torch.split(tokens_T[order_T], self.clusters.counts(tokens_T))
        # A cluster without words here is computed, too: its gradient is 0 in every process.
        embedded = [
            projection(words(ids - start))
            for ids, start, words, projection in zip(
                parts, self.clusters.starts, self.words, self.projections, strict=True
            )
        ]
        hidden_TD = torch.cat(embedded)[order_T.argsort()]
        dim = self.clusters.widths[0]
        scaled_BMD = hidden_TD.view(*tokens_BM.shape, dim) * math.sqrt(dim)
        return scaled_BMD.to(cast(nn.Embedding, self.words[0]).weight.dtype)


class AdaptiveSoftmax(nn.Module):
    """Log-probabilities of words by clusters, or of given targets only.

    Args:
        clusters: of the vocabulary.
        tied_to: the embedding whose vectors and projections it shares; None: it has its own.
    """

    def __init__(self, clusters: Clusters, tied_to: AdaptiveEmbedding | None = None) -> None:
        super().__init__()
        self.clusters = clusters
        dim = clusters.widths[0]
        self.projections = nn.ModuleList(
            nn.Linear(width, dim, bias=False)
            for width in clusters.widths  # used transposed
        )
        self.words = nn.ModuleList(
            nn.Linear(width, size)
            for size, width in zip(clusters.sizes, clusters.widths, strict=True)
        )
        self.others = nn.Linear(dim, len(clusters.sizes) - 1)  # the clusters after cluster 0
        if tied_to is not None:
            for own, shared in zip(self.words, tied_to.words, strict=True):
                own.weight = shared.weight
            for own, shared in zip(self.projections, tied_to.projections, strict=True):
                own.weight = shared.weight

    def forward(self, hidden_BMD: Tensor) -> Tensor:
        """Log-probabilities (B, M, V) of all words, float32 or wider."""
        head_BMC = self._head(hidden_BMD)
        words = self.clusters.sizes[0]
        parts = [head_BMC[..., :words]]
        for i in range(1, len(self.words)):
            of_cluster_BM1 = head_BMC[..., words + i - 1, None]
            parts.append(of_cluster_BM1 + self._tail(i, hidden_BMD))
        return torch.cat(parts, dim=-1)

    def macs(self, tokens: int, targets_BM: Tensor | None) -> int:
        """Multiply-accumulates of `forward` for so many tokens, or of `nats` for their targets;
        waits for the device of these.
        """
        sizes, widths = self.clusters.sizes, self.clusters.widths
        counts = [tokens] * len(sizes) if targets_BM is None else self.clusters.counts(targets_BM)
        macs: int = tokens * widths[0] * (widths[0] + sizes[0] + len(sizes) - 1)
        for n, width, size in zip(counts[1:], widths[1:], sizes[1:], strict=True):
            macs += n * width * (widths[0] + size)
        return macs

    def nats(self, hidden_BMD: Tensor, targets_BM: Tensor) -> Tensor:
        """Cost (B, M) of each target: -log of its probability."""
        hidden_TD, targets_T = hidden_BMD.flatten(0, 1), targets_BM.flatten().long()
        cluster_T = self.clusters.of(targets_T)
        column_T = torch.where(cluster_T == 0, targets_T, self.clusters.sizes[0] - 1 + cluster_T)
        costs_T = -self._head(hidden_TD).gather(-1, column_T[:, None]).squeeze(-1)
        order_T = cluster_T.argsort(stable=True)
        rows = torch.split(order_T, self.clusters.counts(targets_T))
        for i, rows_N in enumerate(rows[1:], 1):
            word_N1 = (targets_T[rows_N] - self.clusters.starts[i])[:, None]
            within_N = self._tail(i, hidden_TD[rows_N]).gather(-1, word_N1).squeeze(-1)
            costs_T = costs_T.index_add(0, rows_N, -within_N)
        return costs_T.view(targets_BM.shape)

    def _head(self, hidden: Tensor) -> Tensor:
        """Log-probabilities of the words of cluster 0, then of the other clusters."""
        projected = self._projected(0, hidden)
        logits = torch.cat([self.words[0](projected), self.others(projected)], dim=-1)
        return F.log_softmax(logits, dim=-1)

    def _tail(self, i: int, hidden: Tensor) -> Tensor:
        """Log-probabilities of the words of cluster i, given that it is this cluster."""
        return F.log_softmax(self.words[i](self._projected(i, hidden)), dim=-1)

    def _projected(self, i: int, hidden: Tensor) -> Tensor:
        return F.linear(hidden, cast(nn.Linear, self.projections[i]).weight.T)
