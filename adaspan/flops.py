"""What a model costs, counted.

Two conventions, never mixed under one name:

- *Paper*: multiply-accumulates of predicting one token, without position, softmax and embedding
  terms (`L (4 D^2 + 2 D F + 2 D z)`, z the average span). 42M for the paper's 12 layers at z = 314.
- *Executed*: floating point operations (a multiply-accumulate is two) of every matrix product that
  the implementation performs, as `torch.utils.flop_counter` counts them. Element-wise work
  (softmax, mask, norms) is ignored in both.

Legend: M block, C cached + block keys, D dim, F ffn_dim, L layers, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """What of a model's shape decides its cost."""

    layers: int
    dim: int
    ffn_dim: int
    vocabulary_size: int
    span_gates: int = 0  # spans a layer computes for each token: its heads, if they are dynamic


def paper_macs_per_token(shape: Shape, mean_span: float) -> float:
    """Multiply-accumulates a token as the paper's "FLOPS" count them (Tables 1 and 2, Figure 3).

    Args:
        shape: of the model.
        mean_span: average over all heads, in tokens, without the ramp.
    """
    projections = 4 * shape.dim**2
    feed_forward = 2 * shape.dim * shape.ffn_dim
    attention = 2 * shape.dim * mean_span
    return shape.layers * (projections + feed_forward + attention)


def forward_flops(
    shape: Shape, block_size: int, keys: Sequence[int], windows: Sequence[int]
) -> int:
    """FLOPs executed in one forward pass of one stream's block by the reference attention.

    Args:
        shape: of the model.
        block_size: M.
        keys: C of each layer: the cached keys that are used, and the block's own.
        windows: position embeddings that each layer multiplies with.
    """
    macs = block_size * shape.dim * shape.vocabulary_size
    for count, window in zip(keys, windows, strict=True):
        macs += 2 * block_size * shape.dim**2  # query, output
        macs += block_size * shape.dim * shape.span_gates
        macs += 2 * count * shape.dim**2  # key, value
        macs += 2 * block_size * count * shape.dim  # scores by content, weighted values
        macs += block_size * window * shape.dim  # scores by position
        macs += 2 * block_size * shape.dim * shape.ffn_dim
    return 2 * macs


def training_flops(
    shape: Shape, block_size: int, keys: Sequence[int], windows: Sequence[int]
) -> int:
    """FLOPs executed in forward and backward of one stream's block by the reference attention.

    The backward pass does each product twice, for its two inputs; only the cache's own gradient is
    not computed.
    """
    forward = forward_flops(shape, block_size, keys, windows)
    cached = sum(count - block_size for count in keys)
    return 3 * forward - 2 * 2 * cached * shape.dim**2
