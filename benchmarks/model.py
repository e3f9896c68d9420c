"""Whole models, forward, loss and backward: ours, our reference attention, and the public code.

    python benchmarks/model.py [--reference DIR] [--cases small-zero,base-learned]
    python benchmarks/model.py --device cuda --cases base-learned --batch 64 --contenders banded

`base` is the paper's 12-layer model (dim 512, 8 heads, span limit 8192, blocks of 512, batch 1),
`small` that of experiment=enwik8_small (8 layers of 256, 4 heads, limit 1024, blocks of 256, batch
8), `default` that of the default run (4 layers of 128, 4 heads, limit 1024, blocks of 64, batch
12), all without dropout; --batch reads another number of streams. The contender `banded bf16` has
linear layers in bfloat16: faster on GPUs and where a processor has instructions for it
(avx512_bf16, amx), thirty times slower where it has not. Ratios are to the first contender.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from measure import Result, again_with_tuned_malloc, measure, show
from public_code import load, options, set_spans
from torch import Tensor
from torch.nn import functional as F

from adaspan.config.kinds.span import AdaptiveSpanConfig
from adaspan.config.schema import ModelConfig
from adaspan.nn.span import AdaptiveSpan, cache_length
from adaspan.train.build import make_model

VOCABULARY, RAMP = 205, 32


@dataclass(frozen=True)
class Case:
    """A model, its spans in tokens layer by layer, and how it reads."""

    shape: ModelConfig
    limit: int
    spans: Sequence[Sequence[float]]
    block: int
    batch: int


TINY = ModelConfig(layers=4, dim=128, heads=4, ffn_dim=512)
SMALL = ModelConfig(layers=8, dim=256, heads=4, ffn_dim=1024)
BASE = ModelConfig(layers=12, dim=512, heads=8, ffn_dim=2048)
# What the default run learns.
TINY_LEARNED = [[2.0, 0, 0, 6], [4.0, 1, 3, 3], [2.0, 6, 1, 2], [9.0, 5, 10, 3]]
# As Figure 4 of the paper has them: the lower layers at the ramp, a few upper heads very long.
SMALL_LEARNED = [[0.0] * 4] * 3 + [[5.0, 10, 40, far] for far in (150, 250, 400, 550, 650)]
BASE_LEARNED = [[0.0] * 8] * 5 + [
    [20.0, 30, 40, 60, 100, 250, 700, far] for far in (1000, 2000, 3000, 4000, 2000, 3000, 5000)
]

CONTENDERS = ("banded", "reference", "banded bf16", "public")
CASES = {
    "small-zero": Case(SMALL, 1024, [[0.0] * 4] * 8, 256, 8),
    "small-learned": Case(SMALL, 1024, SMALL_LEARNED, 256, 8),
    "small-full": Case(SMALL, 1024, [[1024.0] * 4] * 8, 256, 8),
    "default-learned": Case(TINY, 1024, TINY_LEARNED, 64, 12),
    "base-zero": Case(BASE, 8192, [[0.0] * 8] * 12, 512, 1),
    "base-learned": Case(BASE, 8192, BASE_LEARNED, 512, 1),
    "base-full": Case(BASE, 8192, [[8192.0] * 8] * 12, 512, 1),
}


def ours(
    case: Case, implementation: str, tokens_BM: Tensor, precision: torch.dtype
) -> Callable[[], None]:
    """Forward, loss and backward of our model, its caches full."""
    span = AdaptiveSpanConfig(limit=case.limit, ramp=RAMP, loss_coefficient=0.0)
    model = make_model(case.shape, span, VOCABULARY, implementation).to(tokens_BM.device)
    for learned, spans in zip(model.spans, case.spans, strict=True):
        assert isinstance(learned, AdaptiveSpan)
        with torch.no_grad():
            learned.fraction.copy_(torch.tensor(spans) / case.limit)
    caches = [
        torch.randn(case.batch, cache_length(reach, case.limit), case.shape.dim).to(
            tokens_BM.device
        )
        for reach in model.reaches(model.plan(case.batch, case.block))
    ]

    def work() -> None:
        model.zero_grad()
        enabled = precision != torch.float32
        with torch.autocast(tokens_BM.device.type, precision, enabled=enabled):
            log_probs_BMV = model(tokens_BM, caches).log_probs_BMV
        torch.autograd.backward(F.nll_loss(log_probs_BMV.flatten(0, 1), tokens_BM.flatten()))

    return work


def public(checkout: Path, case: Case, tokens_BM: Tensor) -> Callable[[], None]:
    """The same of the public code's model."""
    model = load(checkout).TransformerSeq(
        vocab_size=VOCABULARY,
        hidden_size=case.shape.dim,
        nb_heads=case.shape.heads,
        nb_layers=case.shape.layers,
        inner_hidden_size=case.shape.ffn_dim,
        emb_dropout=0.0,
        adapt_io_params={"adapt_io_enabled": False},
        **options(case.limit, RAMP),
    )
    model.to(tokens_BM.device)
    for layer, spans in zip(model.layers, case.spans, strict=True):
        set_spans(layer.attn, spans, case.limit)
    caches = [
        torch.randn(case.batch, layer.attn.attn.get_cache_size(), case.shape.dim).to(
            tokens_BM.device
        )
        for layer in model.layers
    ]

    def work() -> None:
        model.zero_grad()
        log_probs_BMV, _, _ = model(tokens_BM, caches)
        torch.autograd.backward(F.nll_loss(log_probs_BMV.flatten(0, 1), tokens_BM.flatten()))

    return work


def make(contender: str, case: Case, tokens_BM: Tensor, checkout: Path) -> Callable[[], None]:
    """The work of a contender by its name."""
    match contender:
        case "public":
            return public(checkout, case, tokens_BM)
        case "banded bf16":
            return ours(case, "banded", tokens_BM, torch.bfloat16)
    return ours(case, contender, tokens_BM, torch.float32)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reference", type=Path, metavar="DIR", help="checkout of the public code")
    parser.add_argument("--cases", default=",".join(CASES), help="some of: %(default)s")
    parser.add_argument("--batch", type=int, help="streams, instead of the case's own")
    parser.add_argument(
        "--contenders",
        help=f"some of: {','.join(CONTENDERS)}; default: banded,reference and, with --reference, "
        "public",
    )
    parser.add_argument("--repeats", type=int, default=5, help="turns of each contender")
    parser.add_argument("--device", type=torch.device, default="cpu")
    arguments = parser.parse_args()
    names = ["banded", "reference", *(["public"] if arguments.reference else [])]
    if arguments.contenders:
        names = arguments.contenders.split(",")
    if unknown := set(names).difference(CONTENDERS):
        parser.error(f"--contenders {','.join(unknown)}: some of {', '.join(CONTENDERS)}")
    if "public" in names and not arguments.reference:
        parser.error("--contenders public: needs --reference DIR")
    results: list[Result] = []
    for name in arguments.cases.split(","):
        torch.manual_seed(0)
        case = CASES[name]
        case = replace(case, batch=arguments.batch or case.batch)
        tokens_BM = torch.randint(VOCABULARY, (case.batch, case.block)).to(arguments.device)
        contenders = {
            contender: make(contender, case, tokens_BM, arguments.reference) for contender in names
        }
        results += measure(name, contenders, arguments.device, arguments.repeats)
    results += again_with_tuned_malloc(arguments.device)
    show("Whole models; ratios to ours", results, arguments.device)


if __name__ == "__main__":
    main()
