"""Adaptive attention inside a plain PyTorch model of one's own.

    python docs/examples/layer_in_your_model.py

Learns the source code of argparse letter by letter in a few seconds. Each head begins with a span
of 0 tokens, sees no further than the ramp, and grows only as far as that pays.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from adaspan import AdaptiveSelfAttention

DIM, HEADS, LIMIT, BATCH, BLOCK, STEPS = 64, 4, 256, 16, 64, 160


class Block(nn.Module):
    """Attention and feed-forward, each added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM)
        self.attention = AdaptiveSelfAttention(DIM, HEADS, LIMIT, ramp=8, loss_coefficient=1e-6)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(DIM), nn.Linear(DIM, 4 * DIM), nn.ReLU(), nn.Linear(4 * DIM, DIM)
        )

    def forward(self, hidden: Tensor, cache: Tensor | None) -> tuple[Tensor, Tensor]:
        attended, cache = self.attention(self.norm(hidden), cache)
        hidden = hidden + attended
        return hidden + self.feed_forward(hidden), cache


class Model(nn.Module):
    """Two blocks between an embedding and the logits of the next letter."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, DIM)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.output = nn.Linear(DIM, letters)

    def forward(
        self, tokens: Tensor, caches: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[Tensor | None]]:
        hidden, next_caches = self.embedding(tokens), []
        for block, cache in zip(self.blocks, caches, strict=True):
            hidden, cache = block(hidden, cache)
            next_caches.append(cache)
        return self.output(hidden), next_caches

    def attentions(self) -> list[AdaptiveSelfAttention]:
        return [module for module in self.modules() if isinstance(module, AdaptiveSelfAttention)]


def main() -> tuple[list[float], list[list[float]]]:
    """Train; returns the bits per letter of every step, and every head's span."""
    torch.manual_seed(0)
    text = Path(argparse.__file__).read_text()
    letters = sorted(set(text))
    tokens = torch.tensor([letters.index(letter) for letter in text])
    streams = tokens[: len(tokens) // BATCH * BATCH].view(BATCH, -1)
    model = Model(len(letters))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.006)
    blocks = streams.unfold(1, BLOCK + 1, BLOCK).unbind(1)  # targets are the next letters
    bits = []
    for step in range(STEPS):
        block = blocks[step % len(blocks)]
        if step % len(blocks) == 0:
            caches: Sequence[Tensor | None] = [None, None]  # the streams begin anew
        logits, caches = model(block[:, :-1], caches)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), block[:, 1:].flatten())
        penalty = torch.stack([attention.penalty() for attention in model.attentions()]).sum()
        (loss + penalty).backward()
        optimizer.step()
        optimizer.zero_grad()
        for attention in model.attentions():
            attention.clamp_spans_()
        bits.append(loss.item() / math.log(2))
        if step % 40 == 0 or step == STEPS - 1:
            print(f"step {step:3}: {bits[-1]:.2f} bits per letter")
    spans = [
        spans_H.tolist()
        for attention in model.attentions()
        if (spans_H := attention.current_spans()) is not None
    ]
    for number, heads in enumerate(spans):
        print(f"layer {number}: spans of {', '.join(f'{span:.0f}' for span in heads)} tokens")
    return bits, spans


if __name__ == "__main__":
    main()
