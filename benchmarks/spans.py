"""Spans that differ from token to token beside spans of a head's own, at the same mean.

    python benchmarks/spans.py [--cases default-20,default-50] [--repeats 9]

Whole models, forward, loss and backward, caches full. Each contender has the same weights; dynamic
spans are those of gates as they are initialised, which spread by a factor of about two about their
mean, and `adaptive` has in every head the mean of them. `to the limit` computes every head as far
as the limit, as dynamic spans that are not looked at would need. A case is a model, `default` or
`small` (see model.py), and the mean span in tokens of 1,024.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import torch
from measure import Result, measure, show
from model import CASES as MODELS
from model import RAMP, VOCABULARY
from torch import Tensor

from adaspan.config.kinds.span import AdaptiveSpanConfig, DynamicSpanConfig
from adaspan.nn.attention.groups import Group
from adaspan.nn.span import AdaptiveSpan
from adaspan.nn.transformer import Plan, Transformer
from adaspan.train.build import make_model

LIMIT = 1024
# The model, and the mean span.
CASES = {
    f"{model}-{mean}": (MODELS[f"{model}-learned"], mean)
    for model in ("default", "small")
    for mean in (20, 50, 130)
}


def contenders(case: str, device: torch.device) -> dict[str, Callable[[], None]]:
    """The work of each, by name."""
    model, mean = CASES[case]
    torch.manual_seed(0)
    bias = math.log(mean / (LIMIT - mean)) - 0.16  # the mean of exp is not exp of the mean
    dynamic = make_model(model.shape, DynamicSpanConfig(LIMIT, RAMP, 0.0, bias), VOCABULARY)
    adaptive = make_model(model.shape, AdaptiveSpanConfig(LIMIT, RAMP, 0.0), VOCABULARY)
    adaptive.load_state_dict(dynamic.state_dict(), strict=False)
    dynamic, adaptive = dynamic.to(device), adaptive.to(device)
    tokens_BM = torch.randint(VOCABULARY, (model.batch, model.block)).to(device)
    caches = [
        torch.randn(model.batch, LIMIT, model.shape.dim).to(device)
        for _ in range(model.shape.layers)
    ]
    means = dynamic(tokens_BM, caches).mean_spans
    for span, mean_H in zip(adaptive.spans, means, strict=True):
        assert isinstance(span, AdaptiveSpan)
        span.fraction.data.copy_(mean_H / LIMIT)
    heads = tuple(range(model.shape.heads))
    to_the_limit = [[Group(heads, LIMIT, unmasked=0)]] * model.shape.layers
    return {
        "adaptive": step(adaptive, tokens_BM, caches),
        "dynamic": step(dynamic, tokens_BM, caches),
        "to the limit": step(dynamic, tokens_BM, caches, to_the_limit),
    }


def step(
    model: Transformer, tokens_BM: Tensor, caches: list[Tensor], plan: Plan | None = None
) -> Callable[[], None]:
    """Forward, loss and backward."""

    def work() -> None:
        model.zero_grad()
        nats_BM = model(tokens_BM, caches, plan, tokens_BM).nats_BM
        torch.autograd.backward(nats_BM.mean())

    return work


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", default=",".join(CASES), help="some of: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each contender")
    parser.add_argument("--device", type=torch.device, default="cpu")
    arguments = parser.parse_args()
    results: list[Result] = []
    for case in arguments.cases.split(","):
        work = contenders(case, arguments.device)
        results += measure(case, work, arguments.device, arguments.repeats)
    show("Spans a token beside spans a head; ratios to adaptive", results, arguments.device)


if __name__ == "__main__":
    main()
