"""Persistent memory: what a layer has learned once for all texts, attended to beside the text."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from adaspan.nn.checks import check_counts


class PersistentMemory(nn.Module):
    """P learned keys and values per head, in the same softmax as the text's, which no span masks.

    Sukhbaatar et al., "Augmenting Self-attention with Persistent Memory", section 4.1: with enough
    of them a layer needs no feed-forward. Under the name of the public code.

    The parameters are as small as the weights of a linear layer, so that the optimizer moves them
    at the same pace, and are multiplied on use: keys by sqrt(K), values by sqrt(P).

    Args:
        heads: H.
        head_dim: K.
        size: P.
    """

    def __init__(self, heads: int, head_dim: int, size: int) -> None:
        super().__init__()
        check_counts(persistent=size)
        self._key_scale, self._value_scale = math.sqrt(head_dim), math.sqrt(size)
        self.key_HPK = nn.Parameter(torch.randn(heads, size, head_dim) / self._key_scale)
        self.value_HPK = nn.Parameter(torch.randn(heads, size, head_dim) / self._value_scale)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Keys and values (H, P, K), as `adaspan.nn.attention.attend` takes them."""
        return self.key_HPK * self._key_scale, self.value_HPK * self._value_scale
