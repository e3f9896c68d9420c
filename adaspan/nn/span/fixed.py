"""The paper's baseline: spans that are not learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adaspan.nn.checks import check_counts
from adaspan.nn.span.base import Span


class FixedSpan(Span):
    """Every head looks back exactly `limit` tokens, at no penalty: the paper's baseline.

    Args:
        heads: H.
        limit: S, in tokens.
        windows: how many tokens each head looks back; None: all of them the limit.

    Raises:
        ValueError: windows that are not one per head, or not 1 to the limit.
    """

    def __init__(self, heads: int, limit: int, windows: Sequence[int] | None = None) -> None:
        super().__init__(limit, ramp=None, heads=heads)
        self.heads = heads
        self.windows = tuple(windows) if windows else (limit,) * heads
        if len(self.windows) != heads:
            raise ValueError(f"windows={list(self.windows)}: must be {heads}, one per head")
        for window in self.windows:
            check_counts(window=window)
            if window > limit:
                raise ValueError(f"window={window}: must be at most limit={limit}")

    def forward(self, hidden_BMD: Tensor) -> None:
        return None

    def current(self) -> Tensor:
        return torch.tensor(self.windows, dtype=torch.float32)
