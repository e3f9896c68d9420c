"""What a model costs, counted.

Three conventions, never mixed under one name:

- *Paper*: multiply-accumulates of predicting one token, without position, softmax and embedding
  terms (`L (4 D^2 + 2 D F + 2 D (z + P))`, z the average span, P the persistent keys a head). 42M
  for the paper's 12 layers at z = 314.
- *Paper with position*: the same and the product of queries with position embeddings,
  `L D z`: 43.5M.
- *Executed*: floating point operations (a multiply-accumulate is two) of every matrix product that
  the chosen attention and the rest of the model perform, as `torch.utils.flop_counter` counts them,
  the cache's keys and values that are computed again with every block among them. Where weights do
  not change, keys and values are computed once (`decoding_flops`).

Element-wise work (softmax, mask, norms) is ignored in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a sweep's cost is shown without waiting for torch
    import torch

    from adaspan.nn.attention.groups import Group
    from adaspan.nn.attention.implementation import Implementation


@dataclass(frozen=True)
class Shape:
    """What of a model's shape decides its cost."""

    layers: int
    dim: int
    heads: int
    ffn_dim: int
    vocabulary_size: int
    persistent: int = 0  # learned keys and values per head
    span_macs: int = 0  # multiply-accumulates that a layer's spans take for each token


def paper_macs_per_token(shape: Shape, mean_span: float, *, position: bool = False) -> float:
    """Multiply-accumulates a token as the paper's "FLOPS" count them (Tables 1 and 2, Figure 3).

    The 24-layer rows' 179M come out with an inner width of 3072; with the stated 4096 it is 216.6M.

    Args:
        shape: of the model.
        mean_span: average over all heads, in tokens, without the ramp.
        position: count the product with position embeddings, too, which the paper leaves out.
    """
    projections = 4 * shape.dim**2
    feed_forward = 2 * shape.dim * shape.ffn_dim
    attention = (3 if position else 2) * shape.dim * mean_span
    persistent = 2 * shape.dim * shape.persistent
    return shape.layers * (projections + feed_forward + attention + persistent)


def mean_span_at(shape: Shape, paper_macs: float) -> float:
    """The mean span, in tokens, at which a model costs so many multiply-accumulates a token as the
    paper counts; below 0 if it costs more with none.
    """
    without = paper_macs_per_token(shape, 0)
    return (paper_macs - without) / (paper_macs_per_token(shape, 1) - without)


def attention_macs_per_token(shape: Shape, mean_span: float) -> float:
    """Of scores and weighted values, within the mean span and of persistent keys, as the paper
    counts: `L 2 D (z + P)`, without projections and positions.
    """
    return shape.layers * 2 * shape.dim * (mean_span + shape.persistent)


def feed_forward_macs_per_token(shape: Shape) -> int:
    """Of the feed-forward: `L 2 D F`."""
    return shape.layers * 2 * shape.dim * shape.ffn_dim


def executed_flops(
    shape: Shape,
    *,
    batch_size: int,
    block_size: int,
    cached: Sequence[int],
    groups: Sequence[Sequence[Group]],
    attention: Implementation,
    device: torch.device,
    io_macs: int | None = None,
) -> tuple[int, int]:
    """FLOPs that the forward and the backward pass over one block of every stream execute.

    Args:
        shape: of the model.
        batch_size: B, streams.
        block_size: M, tokens a stream.
        cached: length of each layer's cache.
        groups: of each layer, as `Output.groups` has them: how far back each head was computed.
        attention: how it is computed.
        device: where it runs.
        io_macs: of embedding and output layer, as the model's `io_macs` counts them; None: of a
            plain embedding and softmax.
    """
    tokens = batch_size * block_size
    forward = backward = 0
    for length, of_layer in zip(cached, groups, strict=True):
        # Of each product the backward pass computes two: one for each of its factors.
        products = tokens * _products(shape)
        forward += products
        backward += 2 * products
        for group in of_layer:
            past = min(length, group.window)
            heads = len(group.heads)
            head_dim = shape.dim // shape.heads
            cache = batch_size * past * shape.dim * 2 * heads * head_dim  # keys and values
            forward += cache
            backward += cache  # the cache itself needs no gradient
            for sequences, window in _calls(group, attention):
                attended = attention.macs(
                    sequences=batch_size * sequences,
                    block=block_size,
                    keys=past + block_size,
                    window=window,
                    head_dim=head_dim,
                    device=device,
                )
                forward += attended[0]
                backward += attended[1]
    output = tokens * shape.dim * shape.vocabulary_size if io_macs is None else io_macs
    return 2 * (forward + output), 2 * (backward + 2 * output)


def most_executed_flops(
    shape: Shape, *, batch_size: int, block_size: int, limit: int, io_macs: int
) -> int:
    """FLOPs that the forward and the backward pass over one block of every stream execute at most:
    every head looks back to the limit, every query is computed with all keys of the block, and the
    scores are computed again for each product of the backward pass that needs them, as kernels do.

    Args:
        shape: of the model.
        batch_size: B, streams.
        block_size: M, tokens a stream.
        limit: S.
        io_macs: of embedding and output layer.
    """
    tokens = batch_size * block_size
    cache = 2 * batch_size * limit * shape.dim**2  # keys and values
    whole, band = (tokens * columns * shape.dim for columns in (limit + block_size, limit))
    forward = tokens * _products(shape) + cache + 2 * whole + band
    backward = 2 * tokens * _products(shape) + cache + 7 * whole + 2 * band
    return 2 * (shape.layers * (forward + backward) + 3 * io_macs)


def decoding_flops(
    shape: Shape,
    *,
    past: int,
    groups: Sequence[Sequence[Group]],
    attention: Implementation,
    device: torch.device,
    io_macs: int | None = None,
) -> int:
    """FLOPs that one more token of one text takes where keys and values are cached.

    The same for any `past` that fills the windows.

    Args:
        shape: of the model.
        past: tokens of the text before this one, at least 1.
        groups: of each layer, as `Output.groups` has them: how far back each head was computed.
        attention: how it is computed.
        device: where it runs.
        io_macs: of embedding and output layer, as the model's `io_macs` counts them; None: of a
            plain embedding and softmax.
    """
    macs = shape.dim * shape.vocabulary_size if io_macs is None else io_macs
    for of_layer in groups:
        macs += _products(shape)
        for group in of_layer:
            keys = min(past, group.window) + 1
            macs += attention.macs(
                sequences=len(group.heads),
                block=1,
                keys=keys,
                window=group.window,
                head_dim=shape.dim // shape.heads,
                device=device,
            )[0]
    return 2 * macs


def _calls(group: Group, attention: Implementation) -> Sequence[tuple[int, int]]:
    """How many heads are computed with which window."""
    if attention.by_head is not None:
        return [(1, window) for window in group.window_of_each()]
    return [(len(group.heads), group.window)]


def _products(shape: Shape) -> int:
    """Multiply-accumulates of a layer for each token, beside those of the window."""
    persistent = 2 * shape.dim * shape.persistent
    return 4 * shape.dim**2 + 2 * shape.dim * shape.ffn_dim + persistent + shape.span_macs
