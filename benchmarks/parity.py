"""Same weights, same tokens: how far our model's output and gradients are from the public code's.

    python benchmarks/parity.py --reference DIR

Ends with 1 if they are further apart than 1e-10. In float64, blocks after the cache is full: before
that, the public code attends to zeros where there is no history. Its 1e-8 beside the sum of masked
weights is left out: it couples the heads.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from public_code import load, options, set_spans
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from adaspan.config.kinds.span import AdaptiveSpanConfig
from adaspan.config.schema import ModelConfig
from adaspan.nn.attention import IMPLEMENTATIONS
from adaspan.nn.span import AdaptiveSpan
from adaspan.nn.transformer import Transformer
from adaspan.train.build import make_model

LIMIT, RAMP, BLOCK, BATCH, VOCABULARY = 256, 32, 64, 2, 60
SHAPE = ModelConfig(layers=12, dim=64, heads=8, ffn_dim=128)
# Not whole tokens: there the public code loses the gradient of the ramp's far edge.
SPANS = [[0.5, 3.25, 11.7, 30.1, 64.9, 100.3, 150.6, 220.2]] * SHAPE.layers


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reference", type=Path, metavar="DIR", required=True)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    public = load(arguments.reference).TransformerSeq(
        vocab_size=VOCABULARY,
        hidden_size=SHAPE.dim,
        nb_heads=SHAPE.heads,
        nb_layers=SHAPE.layers,
        inner_hidden_size=SHAPE.ffn_dim,
        emb_dropout=0.0,
        adapt_io_params={"adapt_io_enabled": False},
        **options(LIMIT, RAMP),
    )
    public.double()
    for layer, spans in zip(public.layers, SPANS, strict=True):
        set_spans(layer.attn, spans, LIMIT)
        _leave_out_epsilon(layer.attn.attn.adaptive_span)
    tokens_BM = torch.randint(VOCABULARY, (BATCH, BLOCK))
    caches = [torch.randn(BATCH, LIMIT, SHAPE.dim, dtype=torch.float64) for _ in SPANS]
    log_probs_BMV, _, _ = public(tokens_BM, caches)
    torch.autograd.backward(F.nll_loss(log_probs_BMV.flatten(0, 1), tokens_BM.flatten()))
    theirs = {name: parameter.grad for name, parameter in public.named_parameters()}

    table = Table(title="Largest difference from the public code, 12 layers, float64")
    table.add_column("attention")
    table.add_column("output", justify="right")
    table.add_column("gradients", justify="right")
    table.add_column("largest gradient", justify="right")
    is_same = True
    for implementation in IMPLEMENTATIONS:
        span = AdaptiveSpanConfig(limit=LIMIT, ramp=RAMP, loss_coefficient=0.0)
        model = make_model(SHAPE, span, VOCABULARY, implementation).double()
        _take_weights(model, public)
        output = model(tokens_BM, caches)
        torch.autograd.backward(F.nll_loss(output.log_probs_BMV.flatten(0, 1), tokens_BM.flatten()))
        ours = _as_public(model)
        assert ours.keys() == theirs.keys()
        of_output = float((output.log_probs_BMV - log_probs_BMV).abs().max())
        of_gradients = float(
            torch.stack([(ours[name] - theirs[name]).abs().max() for name in ours]).max()
        )
        largest = max(float(gradient.abs().max()) for gradient in theirs.values())
        table.add_row(implementation, *(f"{x:.1e}" for x in (of_output, of_gradients, largest)))
        is_same &= of_output < 1e-10 and of_gradients < 1e-10  # False also for what is no number
    Console(width=100).print(table)
    sys.exit(not is_same)


def _leave_out_epsilon(adaptive_span: Any) -> None:
    def forward(attention: Tensor, normalize: bool = True) -> Tensor:
        masked: Tensor = adaptive_span._mask(attention.view(-1, SHAPE.heads, *attention.shape[1:]))
        return (masked / masked.sum(-1, keepdim=True)).flatten(0, 1)

    adaptive_span.forward = forward


# Ours, theirs.
_OF_MODEL = [("embedding.weight", "in_emb.weight"), ("output.weight", "out_emb.weight")]
_OF_MODEL += [("output.bias", "out_emb.bias")]
_OF_LAYER = [
    ("attention.query.weight", "attn.proj_query.weight"),
    ("attention.key.weight", "attn.proj_key.weight"),
    ("attention.value.weight", "attn.proj_val.weight"),
    ("attention.output.weight", "attn.proj_out.weight"),
    ("attention_norm.weight", "norm1.weight"),
    ("attention_norm.bias", "norm1.bias"),
    ("feed_forward.inner.weight", "ff.fc1.weight"),
    ("feed_forward.inner.bias", "ff.fc1.bias"),
    ("feed_forward.outer.weight", "ff.fc2.weight"),
    ("feed_forward.outer.bias", "ff.fc2.bias"),
    ("feed_forward_norm.weight", "norm2.weight"),
    ("feed_forward_norm.bias", "norm2.bias"),
]
_SAME = _OF_MODEL + [
    (f"layers.{i}.{one}", f"layers.{i}.{other}")
    for i in range(SHAPE.layers)
    for one, other in _OF_LAYER
]


def _take_weights(model: Transformer, public: Any) -> None:
    ours, theirs = dict(model.named_parameters()), dict(public.named_parameters())
    with torch.no_grad():
        for one, other in _SAME:
            ours[one].copy_(theirs[other])
        model.position_SK.copy_(theirs["key_pe"][0].T.flip(0))
        for span, layer in zip(model.spans, public.layers, strict=True):
            assert isinstance(span, AdaptiveSpan)
            span.fraction.copy_(layer.attn.attn.adaptive_span._mask.current_val.flatten())


def _as_public(model: Transformer) -> dict[str, Any]:
    """Our gradients under the public code's names and shapes."""
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    renamed: dict[str, Any] = {other: ours[one] for one, other in _SAME}
    assert model.position_SK.grad is not None
    renamed["key_pe"] = model.position_SK.grad.flip(0).T.unsqueeze(0)
    for i, span in enumerate(model.spans):
        assert isinstance(span, AdaptiveSpan)
        assert span.fraction.grad is not None
        name = f"layers.{i}.attn.attn.adaptive_span._mask.current_val"
        renamed[name] = span.fraction.grad.view(-1, 1, 1)
    return renamed


if __name__ == "__main__":
    main()
