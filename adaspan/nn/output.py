"""The output layer: from the last hidden states to log-probabilities of the next token."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

# nll_loss counts targets of one id as 0, by default -100: an id that no tensor of tokens has.
_NO_ID = -(2**62)


class Softmax(nn.Linear):
    """One logit for each of V tokens."""

    def forward(self, hidden_BMD: Tensor) -> Tensor:
        """Log-probabilities (B, M, V), float32 or wider."""
        return F.log_softmax(super().forward(hidden_BMD), dim=-1)

    def macs(self, tokens: int, targets_BM: Tensor | None) -> int:
        """Multiply-accumulates for so many tokens, whether their targets are known or not."""
        return tokens * self.in_features * self.out_features

    def nats(self, hidden_BMD: Tensor, targets_BM: Tensor) -> Tensor:
        """Cost (B, M) of each target: -log of its probability."""
        costs_T = F.nll_loss(
            self(hidden_BMD).flatten(0, 1),
            targets_BM.flatten().long(),
            ignore_index=_NO_ID,
            reduction="none",
        )
        return costs_T.view(targets_BM.shape)
