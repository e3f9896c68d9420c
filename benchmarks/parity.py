"""Same weights, same tokens: how far our model is from the public code's.

    python benchmarks/parity.py --reference DIR

Compares output, penalty, gradients and the losses of a short training, in float64, for layers with
a feed-forward, for the all-attention network, and for adaptive input and output. Ends with 1 if
they are too far apart. Blocks are read after the cache is full: before that, the public code
attends to zeros where there is no history. Its casts to float32 are left out, and so is its 1e-8
beside the sum of masked weights, for it couples the heads; with persistent memory it cannot be, and
is what remains.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from public_code import load, options, set_spans
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from adaspan.config.kinds.span import AdaptiveSpanConfig
from adaspan.config.schema import ModelConfig
from adaspan.nn.adaptive_io import AdaptiveSoftmax
from adaspan.nn.attention import ANYWHERE
from adaspan.nn.transformer import Transformer
from adaspan.train.build import make_model

LIMIT, RAMP, BLOCK, BATCH, VOCABULARY, UPDATES = 256, 32, 64, 2, 60, 20
LOSS_COEFFICIENT = 2e-6  # the papers', and so small that no span is clamped to a whole token
CUTOFFS = [10, 20, 40]
FEED_FORWARD = ModelConfig(layers=12, dim=64, heads=8, ffn_dim=128)
# The largest difference that is allowed: of the output, of gradients, of a loss in the training.
CASES = {
    "feed-forward": (FEED_FORWARD, 1e-10),
    "all-attention": (replace(FEED_FORWARD, ffn_dim=0, persistent=96), 1e-6),
    "adaptive I/O": (replace(FEED_FORWARD, cutoffs=CUTOFFS, divisor=2), 1e-10),
    "adaptive I/O, tied": (replace(FEED_FORWARD, cutoffs=CUTOFFS, divisor=2, tied=True), 1e-10),
}
# Not whole tokens: there the public code loses the gradient of the ramp's far edge.
SPANS = [[0.5, 3.25, 11.7, 30.1, 64.9, 100.3, 150.6, 220.2]] * FEED_FORWARD.layers


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reference", type=Path, metavar="DIR", required=True)
    module = load(parser.parse_args().reference)
    table = Table(title="Largest difference from the public code, 12 layers, float64")
    table.add_column("layers")
    table.add_column("attention")
    for column in (
        "output",
        "penalty",
        "gradients",
        "largest gradient",
        f"loss, {UPDATES} updates",
    ):
        table.add_column(column, justify="right")
    is_same = True
    for name, (shape, most) in CASES.items():
        for implementation in ANYWHERE:
            found = differences(module, shape, implementation)
            table.add_row(name, implementation, *(f"{x:.1e}" for x in found))
            of_output, of_penalty, of_gradients, _, of_losses = found
            # False also for what is no number.
            is_same &= all(x < most for x in (of_output, of_penalty, of_gradients, of_losses))
    Console(width=100).print(table)
    sys.exit(not is_same)


def differences(
    module: Any, shape: ModelConfig, implementation: str
) -> tuple[float, float, float, float, float]:
    """Of output, penalty, gradients (and their largest), and of the losses of a training."""
    torch.manual_seed(0)
    public = _public(module, shape)
    span = AdaptiveSpanConfig(limit=LIMIT, ramp=RAMP, loss_coefficient=LOSS_COEFFICIENT)
    model = make_model(shape, span, VOCABULARY, implementation).double()
    parameters = dict(model.named_parameters())
    weights = dict(public.named_parameters())
    assert len(parameters) == len(weights)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(_from_public(name, weights))
    tokens_BT = torch.randint(VOCABULARY, (BATCH, BLOCK * UPDATES + 1))
    caches = [torch.randn(BATCH, LIMIT, shape.dim, dtype=torch.float64) for _ in SPANS]

    block_BM, targets_BM = tokens_BT[:, :BLOCK], tokens_BT[:, 1 : BLOCK + 1]
    output, _, loss, penalty = _read(model, block_BM, targets_BM, caches)
    their_output, _, their_loss, their_penalty = _read(public, block_BM, targets_BM, caches)
    torch.autograd.backward([loss + penalty, their_loss + their_penalty])
    theirs = {name: parameter.grad for name, parameter in weights.items()}
    of_gradients, largest = 0.0, 0.0
    for name, parameter in parameters.items():
        assert parameter.grad is not None, name
        expected = _from_public(name, theirs)
        of_gradients = max(of_gradients, (parameter.grad - expected).abs().max().item())
        largest = max(largest, expected.abs().max().item())

    rate = 1e-3 if shape.cutoffs else 0.5  # embeddings times the root of D have steep gradients
    of_losses = [
        abs(our - their)
        for our, their in zip(
            _losses(model, tokens_BT, caches, rate),
            _losses(public, tokens_BT, caches, rate),
            strict=True,
        )
    ]
    of_output = (output - their_output).abs().max().item()
    of_penalty = (penalty - their_penalty).abs().item()
    return of_output, of_penalty, of_gradients, largest, max(of_losses)


def _public(module: Any, shape: ModelConfig) -> Any:
    public = module.TransformerSeq(
        vocab_size=VOCABULARY,
        hidden_size=shape.dim,
        nb_heads=shape.heads,
        nb_layers=shape.layers,
        inner_hidden_size=shape.ffn_dim,
        emb_dropout=0.0,
        adapt_io_params={
            "adapt_io_enabled": bool(shape.cutoffs),
            "adapt_io_cutoffs": shape.cutoffs,
            "adapt_io_divval": shape.divisor,
            "adapt_io_tied": shape.tied,
        },
        **options(LIMIT, RAMP, shape.persistent, LOSS_COEFFICIENT),
    )
    for layer, spans in zip(public.layers, SPANS, strict=True):
        set_spans(layer.attn, spans, LIMIT)
        if not shape.persistent:
            _leave_out_epsilon(layer.attn.attn.adaptive_span)
    return public.double()


def _leave_out_epsilon(adaptive_span: Any) -> None:
    def forward(attention: Tensor, normalize: bool = True) -> Tensor:
        heads = adaptive_span._nb_heads
        masked: Tensor = adaptive_span._mask(attention.view(-1, heads, *attention.shape[1:]))
        return (masked / masked.sum(-1, keepdim=True)).flatten(0, 1)

    adaptive_span.forward = forward


def _read(
    model: Any, tokens_BM: Tensor, targets_BM: Tensor, caches: list[Tensor]
) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """Log-probabilities, or with adaptive output costs of the targets; caches; the mean cost; the
    penalty on spans.
    """
    if isinstance(model, Transformer):
        only_costs = isinstance(model.output, AdaptiveSoftmax)
        read = model(tokens_BM, caches, targets_BM=targets_BM if only_costs else None)
        output, caches = read.nats_BM if only_costs else read.log_probs_BMV, read.caches
        penalty = read.penalty
    else:
        only_costs = model.adapt_io
        with patch.object(torch, "float32", torch.float64), patch.object(Tensor, "float", _double):
            output, caches, _ = model(tokens_BM, caches, target=targets_BM.contiguous())
        penalty = sum(layer.attn.attn.adaptive_span.get_loss() for layer in model.layers)
    if only_costs:
        return output, caches, output.mean(), penalty
    cost = F.nll_loss(output.flatten(0, 1), targets_BM.flatten())
    return output, caches, cost, penalty


def _double(tensor: Tensor) -> Tensor:
    return tensor.double()


def _losses(model: Any, tokens_BT: Tensor, caches: list[Tensor], rate: float) -> Iterator[float]:
    """Of updates by a block each. Adagrad's first step would make 1e-8 of a gradient 0.07."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for start in range(0, tokens_BT.shape[1] - 1, BLOCK):
        optimizer.zero_grad()
        tokens_BM, targets_BM = (tokens_BT[:, i : i + BLOCK] for i in (start, start + 1))
        _, caches, prediction, penalty = _read(model, tokens_BM, targets_BM, caches)
        loss = prediction + penalty
        torch.autograd.backward(loss)
        optimizer.step()
        if isinstance(model, Transformer):
            model.clamp_spans_()
        else:
            for layer in model.layers:
                layer.attn.attn.adaptive_span.clamp_param()
        yield loss.item()


# Parts of our parameters' names, and what the public code calls them.
_NAMES = {
    "embedding.words.": "in_emb.emb_layers.",
    "embedding.projections.": "in_emb.emb_projs.",
    "output.words.": "out_emb.out_layers.",
    "output.projections.": "out_emb.out_projs.",
    "output.others.": "out_emb.cluster_proj.",
    "embedding.": "in_emb.",
    "position_SK": "key_pe",
    "attention.span.fraction": "attn.attn.adaptive_span._mask.current_val",
    "attention.persistent.key_HPK": "attn.attn.persistent_memory.key",
    "attention.persistent.value_HPK": "attn.attn.persistent_memory.val",
    "attention.query.": "attn.proj_query.",
    "attention.key.": "attn.proj_key.",
    "attention.value.": "attn.proj_val.",
    "attention.output.": "attn.proj_out.",
    "attention_norm.": "norm1.",
    "feed_forward.inner.": "ff.fc1.",
    "feed_forward.outer.": "ff.fc2.",
    "feed_forward_norm.": "norm2.",
    "output.": "out_emb.",
}


def _from_public(name: str, theirs: Mapping[str, Tensor]) -> Tensor:
    """The public code's tensor for a parameter of ours, in our shape."""
    part = next(part for part in _NAMES if name.endswith(part) or f".{part}" in f".{name}")
    their_name = name.replace(part, _NAMES[part])
    if part.endswith("projections."):
        their_name = their_name.removesuffix(".weight")
    tensor = theirs[their_name]
    if part == "output.others.":  # the public code has the last cluster first
        return tensor.flip(0)
    match part.split(".")[-1]:
        case "position_SK":
            return tensor[0].T.flip(0)
        case "fraction":
            return tensor.flatten()
        case "key_HPK":
            return tensor.transpose(1, 2)
    return tensor


if __name__ == "__main__":
    main()
