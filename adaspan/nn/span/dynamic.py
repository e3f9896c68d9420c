"""A span for each head and token, from the token's hidden state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adaspan.nn.checks import Shapes, check_finite
from adaspan.nn.span.learned import LOSS_COEFFICIENT, RAMP, LearnedSpan
from adaspan.nn.span.mask import at_least_float32


class DynamicSpan(LearnedSpan):
    """A span per head and token: z_t = S * sigmoid(v.x_t + b) (paper, section 2.2).

    Args:
        dim: D, width of the hidden states x_t.
        heads, limit, ramp, loss_coefficient: as in `AdaptiveSpan`.
        initial_bias: b at the start, log(f / (1 - f)) for spans near f S; -4 is 0.018 S.
        penalty_after: updates that are free of the penalty.

    Raises:
        ValueError: a value is out of its range.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        limit: int,
        ramp: float = RAMP,
        loss_coefficient: float = LOSS_COEFFICIENT,
        initial_bias: float = -4.0,
        *,
        penalty_after: int = 0,
    ) -> None:
        super().__init__(limit, ramp, loss_coefficient, penalty_after, dim=dim, heads=heads)
        check_finite(initial_bias=initial_bias)
        self.gate = nn.Linear(dim, heads)
        nn.init.constant_(self.gate.bias, initial_bias)

    def forward(self, hidden_BMD: Tensor) -> Tensor:
        Shapes(D=self.gate.in_features).check("span's input", hidden_BMD, "BMD")
        with torch.autocast(hidden_BMD.device.type, enabled=False):  # spans stay float32
            gate_BMH = torch.sigmoid(self.gate(hidden_BMD.to(self.gate.weight.dtype)))
        return self.limit * at_least_float32(gate_BMH).transpose(1, 2)

    def macs_per_token(self) -> int:
        return self.gate.weight.numel()
