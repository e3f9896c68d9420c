"""One attention layer, forward and backward: ours, our reference, and the paper's public code.

    python benchmarks/attention.py [--reference DIR] [--cases learned,full] [--repeats 9]

`--reference DIR` names a checkout of facebookresearch/adaptive-span to run beside ours. The layer
is that of the paper's 12-layer models: dim 512, 8 heads, blocks of 512 tokens, batch 2; all its
projections are part of the work, dropout is not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from measure import Result, again_with_tuned_malloc, measure, show
from public_code import load, options, set_spans
from torch import Tensor

from adaspan.nn.multi_head_attention import MultiHeadAttention
from adaspan.nn.span import AdaptiveSpan, reach

DIM, HEADS, BLOCK, BATCH, RAMP = 512, 8, 512, 2, 32
LEARNED = [30.0, 40, 50, 60, 80, 150, 500, 2000]
SHORT = [30.0, 40, 50, 60, 80, 100, 150, 300]

# Name: (limit, spans)
CASES = {
    "learned": (8192, LEARNED),
    "zero": (8192, [0.0] * HEADS),
    "full": (8192, [8192.0] * HEADS),
    **{f"limit {limit}": (limit, SHORT) for limit in (512, 2048, 8192, 16384)},
    "one head at 50": (8192, [50.0] * HEADS),
    "one head at 4000": (8192, [50.0] * (HEADS - 1) + [4000.0]),
}


def ours(
    implementation: str, limit: int, spans: list[float], hidden: Tensor, cache: Tensor
) -> Callable[[], Tensor]:
    """Forward and backward of our layer; the output is returned."""
    span = AdaptiveSpan(HEADS, limit, RAMP, loss_coefficient=0.0)
    layer = MultiHeadAttention(DIM, HEADS, span, 0.0, implementation).to(hidden.device)
    with torch.no_grad():
        span.fraction.copy_(torch.tensor(spans) / limit)
    position = torch.randn(limit, DIM // HEADS, device=hidden.device, requires_grad=True)
    longest = max(reach(span, limit, RAMP) for span in spans)

    def work() -> Tensor:
        groups = layer.groups(spans, BATCH, BLOCK)
        output: Tensor = layer(hidden, cache[:, -longest:], position[:longest], groups)[0]
        _backward(output, [hidden, position, *layer.parameters()])
        return output

    return work


def public(
    checkout: Path, limit: int, spans: list[float], hidden: Tensor, cache: Tensor
) -> Callable[[], Tensor]:
    """Forward and backward of the public code's layer, from its model's `h_all` on."""
    layer = load(checkout).MultiHeadSeqAttention(
        hidden_size=DIM, nb_heads=HEADS, **options(limit, RAMP)
    )
    layer.to(hidden.device)
    set_spans(layer, spans, limit)
    position = torch.randn(1, DIM // HEADS, limit, device=hidden.device, requires_grad=True)
    own_cache = cache[:, -layer.attn.get_cache_size() :]

    def work() -> Tensor:
        every = torch.cat([own_cache, hidden], dim=1)
        output: Tensor = layer(hidden, every, every, position)
        _backward(output, [hidden, position, *layer.parameters()])
        return output

    return work


def _backward(output: Tensor, inputs: list[Tensor]) -> None:
    for tensor in inputs:
        tensor.grad = None
    torch.autograd.backward(output, torch.ones_like(output))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reference", type=Path, metavar="DIR", help="checkout of the public code")
    parser.add_argument("--cases", default=",".join(CASES), help="some of: %(default)s")
    parser.add_argument("--repeats", type=int, default=9, help="turns of each contender")
    parser.add_argument("--device", type=torch.device, default="cpu")
    arguments = parser.parse_args()
    results: list[Result] = []
    for case in arguments.cases.split(","):
        torch.manual_seed(0)
        limit, spans = CASES[case]
        hidden = torch.randn(BATCH, BLOCK, DIM, device=arguments.device, requires_grad=True)
        cache = torch.randn(BATCH, limit, DIM, device=arguments.device)
        contenders = {
            name: ours(name, limit, spans, hidden, cache) for name in ("banded", "reference")
        }
        if arguments.reference:
            contenders["public"] = public(arguments.reference, limit, spans, hidden, cache)
        results += measure(case, contenders, arguments.device, arguments.repeats)
    results += again_with_tuned_malloc(arguments.device)
    show("One attention layer; ratios to ours", results, arguments.device)


if __name__ == "__main__":
    main()
