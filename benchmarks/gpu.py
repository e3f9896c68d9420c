"""Fifteen minutes on a GPU: is what it computes right, and how long does a step of training take?

    python benchmarks/gpu.py [--reference DIR] [--only default,small-8]
    python benchmarks/gpu.py --tiny

A step is `Trainer.update`, optimizer included, its caches full; spans stay as they are given. It
is timed over several updates in a row, as in training. First of all:

- attention and its gradients are compared with the dense formula in float64, in float32 and in
  bfloat16, where they may be twice as far from it as that formula in bfloat16 is,
- two trainings from one seed must agree to the bit, and so must one whose steps are captured and
  one whose steps are not, while spans move.

Ends with 1 if one of them does not hold. Rows: the default run, the small model of enwik8_small at
batches of 8 and 64, the paper's 12 layers with spans as learned likewise, and 12 layers with the
same spans under limits of 1,024 to 65,536 tokens; with --eager also steps whose operations are
started one by one. `GB` is what was taken from the GPU for all of a row's training. --profile FILE
adds there where the time of each row goes. With --reference DIR, a checkout of the public code, its
step takes turns with ours, its own optimizer included, in float32 and with products in bfloat16.
--tiny makes every model and text tiny, for a machine without a GPU. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from model import BASE, BASE_LEARNED, RAMP, SMALL, SMALL_LEARNED, TINY, TINY_LEARNED, VOCABULARY
from model import Case as Model
from public_code import load, options, set_spans
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity
from torch.profiler import profile as profiling

from adaspan.config.kinds.optimizer import AdagradConfig
from adaspan.config.kinds.span import AdaptiveSpanConfig
from adaspan.config.schema import ModelConfig, RunConfig, TrainConfig
from adaspan.data import Corpus, Vocabulary
from adaspan.data.facts import Facts
from adaspan.nn.attention import attend
from adaspan.nn.span import AdaptiveSpan
from adaspan.train.device import peak_flops
from adaspan.train.distributed import Processes
from adaspan.train.state import state_of
from adaspan.train.trainer import Trainer

LONGER = [[30.0, 40, 50, 60, 80, 150, 500, 1000 - RAMP]] * 12  # within the shortest limit
CASES = {
    "default": Model(TINY, 1024, TINY_LEARNED, 64, 12),
    "small-8": Model(SMALL, 1024, SMALL_LEARNED, 256, 8),
    "small-64": Model(SMALL, 1024, SMALL_LEARNED, 256, 64),
    "12-layers-8": Model(BASE, 8192, BASE_LEARNED, 512, 8),
    "12-layers-64": Model(BASE, 8192, BASE_LEARNED, 512, 64),
    **{f"limit-{limit}": Model(BASE, limit, LONGER, 512, 8) for limit in (1024, 8192, 65536)},
}
# The public code needs 13.5 GiB for 12 layers at batch 8.
PUBLIC = ("default", "small-8", "small-64", "12-layers-8")
# Which have as many updates of a row as take so long, and at least so many.
SECONDS, UPDATES = 1.0, 5
TINY_MODEL = ModelConfig(layers=2, dim=16, heads=2, ffn_dim=32)


@dataclass(frozen=True)
class Step:
    """What a step of one contender took."""

    case: str
    contender: str
    milliseconds: float  # the median of several runs of updates
    milliseconds_least: float
    tokens_per_second: float
    memory_gb: float | None  # taken from the GPU; None on a CPU
    mfu: float | None  # of the peak rate of matrix products; None where that is not known


def tiny(case: Model) -> Model:
    """The same for a test."""
    return replace(
        case, shape=TINY_MODEL, limit=24, spans=[[0.0, 5.0]] * TINY_MODEL.layers, block=8, batch=2
    )


def training(
    case: Model,
    device: torch.device,
    attention: str = "auto",
    *,
    rate: float = 1e-9,
    graph: bool = True,
) -> Trainer:
    """A training of random tokens; at the usual rate spans stay as they are."""
    config = RunConfig(
        model=case.shape,
        span=AdaptiveSpanConfig(limit=case.limit, ramp=RAMP, loss_coefficient=0.0),
        optimizer=AdagradConfig(lr=rate, grad_clip=0.03),
        train=TrainConfig(
            steps=1_000_000,
            batch_size=case.batch,
            block_size=case.block,
            eval_every=1_000_000,
            checkpoint_every=1_000_000,
            log_every=1_000_000,
            attention=attention,
            graph=graph,
        ),
    )
    text = np.random.default_rng(0).integers(VOCABULARY, size=case.batch * case.block * 300)
    tokens = text.astype(np.uint8)
    vocabulary = Vocabulary(tuple(range(VOCABULARY)), "bytes")
    facts = Facts("plain", "bytes", "none", characters=0)
    corpus = Corpus("random", "", vocabulary, tokens, tokens[:999], tokens[:999], facts)
    trainer = Trainer(config, corpus, device, Processes())
    for span, tokens_H in zip(trainer.model.spans, case.spans, strict=True):
        assert isinstance(span, AdaptiveSpan)
        with torch.no_grad():
            span.fraction.copy_(torch.tensor(tokens_H) / case.limit)
    return trainer


def warm_up(trainer: Trainer, case: Model) -> None:
    """Update until the caches are full and the step is captured."""
    reach = max(trainer.model.reaches(trainer.model.plan(case.batch, case.block)))
    for _ in range(reach // case.block + 30):
        trainer.update()


def seconds_of(update: Callable[[], object], device: torch.device) -> list[float]:
    """Of one update, as a mean of several in a row, again and again."""
    wait(device)
    start = time.perf_counter()
    update()
    wait(device)
    once = time.perf_counter() - start
    in_a_row = max(1, min(20, int(SECONDS / UPDATES / once)))
    found = []
    for _ in range(UPDATES):
        start = time.perf_counter()
        for _ in range(in_a_row):
            update()
        wait(device)
        found.append((time.perf_counter() - start) / in_a_row)
    return found


def ours(
    name: str,
    case: Model,
    device: torch.device,
    attention: str,
    profile: Path | None,
    *,
    graph: bool,
) -> Step:
    """Time our step."""
    forget_memory(device)
    trainer = training(case, device, attention, graph=graph)
    warm_up(trainer, case)
    trainer.take_losses()
    before, steps = trainer.flops.total, trainer.step
    seconds = seconds_of(trainer.update, device)
    trainer.take_losses()
    flops = (trainer.flops.total - before) / (trainer.step - steps)
    if profile:
        add_profile(profile, name, trainer, device)
    contender = f"{trainer.model.attention}, {'captured' if graph else 'eager'}"
    return result(name, contender, case, device, seconds, flops, trainer.precision)


def add_profile(path: Path, name: str, trainer: Trainer, device: torch.device) -> None:
    """Add what a step's time goes into on the device to a file."""
    on_gpu = device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    with profiling(activities=[activity]) as seen:
        for _ in range(2):
            trainer.update()
        wait(device)
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    table = seen.key_averages().table(sort_by=order, row_limit=40, max_name_column_width=110)
    with path.open("a") as file:
        file.write(f"{name}: two steps\n{table}\n")


def public(
    name: str, case: Model, device: torch.device, checkout: Path, precision: torch.dtype
) -> Step:
    """Time the public code's step, its optimizer included."""
    forget_memory(device)
    model: Any = (
        load(checkout)
        .TransformerSeq(
            vocab_size=VOCABULARY,
            hidden_size=case.shape.dim,
            nb_heads=case.shape.heads,
            nb_layers=case.shape.layers,
            inner_hidden_size=case.shape.ffn_dim,
            emb_dropout=0.0,
            adapt_io_params={"adapt_io_enabled": False},
            **options(case.limit, RAMP),
        )
        .to(device)
    )
    for layer, spans in zip(model.layers, case.spans, strict=True):
        set_spans(layer.attn, spans, case.limit)
    optimizer = import_module("adagrad_with_grad_clip").AdagradWithGradClip(
        model.parameters(), lr=1e-9, grad_clip=0.03
    )
    caches = [
        torch.randn(case.batch, layer.attn.attn.get_cache_size(), case.shape.dim, device=device)
        for layer in model.layers
    ]
    tokens_BM = torch.randint(VOCABULARY, (case.batch, case.block), device=device)

    def update() -> None:
        nonlocal caches
        optimizer.zero_grad()
        enabled = precision != torch.float32
        with torch.autocast(device.type, precision, enabled=enabled):
            log_probs_BMV, caches, _ = model(tokens_BM, caches)
            loss = F.nll_loss(log_probs_BMV.flatten(0, 1), tokens_BM.flatten())
        torch.autograd.backward(loss)
        optimizer.step()
        for layer in model.layers:
            layer.attn.attn.adaptive_span.clamp_param()

    for _ in range(3):
        update()
    contender = "public, bfloat16" if enabled_for(precision) else "public, float32"
    return result(name, contender, case, device, seconds_of(update, device), None, precision)


def enabled_for(precision: torch.dtype) -> bool:
    """Whether products are in another precision than float32."""
    return precision != torch.float32


def result(
    name: str,
    contender: str,
    case: Model,
    device: torch.device,
    seconds: Sequence[float],
    flops: float | None,
    precision: torch.dtype,
) -> Step:
    """Of times of one contender, and the FLOPs of a step where they are counted."""
    middle = statistics.median(seconds)
    peak = peak_flops(device, precision)
    on_gpu = device.type == "cuda"
    return Step(
        case=name,
        contender=contender,
        milliseconds=1e3 * middle,
        milliseconds_least=1e3 * min(seconds),
        tokens_per_second=case.batch * case.block / middle,
        memory_gb=torch.cuda.max_memory_reserved(device) / 1e9 if on_gpu else None,
        mfu=flops / middle / peak if flops and peak else None,
    )


def agrees_with_the_dense_formula(device: torch.device, attention: str) -> dict[str, float]:
    """How far output and gradients of attention are from it, in parts of what is allowed."""
    generator = torch.Generator().manual_seed(0)
    batch, heads, block, keys, head_dim, window = 2, 3, 96, 300, 32, 170
    sizes = [
        (batch, heads, block, head_dim),
        (batch, heads, keys, head_dim),
        (batch, heads, keys, head_dim),
        (window, head_dim),
    ]
    drawn = [torch.randn(size, generator=generator).to(device) for size in sizes]
    span_H1 = torch.tensor([[20.5], [70.0], [window - 1.0]], device=device)
    weight = torch.randn(sizes[0], generator=generator).to(device, torch.float64)

    def computed(implementation: str, dtype: torch.dtype) -> list[Tensor]:
        leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in drawn]
        z_H1 = span_H1.detach().to(torch.promote_types(dtype, torch.float32)).requires_grad_()
        query, key, value, position = leaves
        output = attend(
            query, key, value, position, span=z_H1, ramp=RAMP, implementation=implementation
        )
        torch.autograd.backward((output.double() * weight).sum())
        return [output.detach(), *(leaf.grad for leaf in (*leaves, z_H1) if leaf.grad is not None)]

    exact = computed("reference", torch.float64)

    def far(found: list[Tensor]) -> list[float]:
        return [
            float((one.double() - other).norm() / other.norm())
            for one, other in zip(found, exact, strict=True)
        ]

    in_float32 = max(far(computed(attention, torch.float32)))
    in_bfloat16 = max(
        own / dense
        for own, dense in zip(
            far(computed(attention, torch.bfloat16)),
            far(computed("reference", torch.bfloat16)),
            strict=True,
        )
    )
    return {"attention in float32": in_float32 / 1e-4, "attention in bfloat16": in_bfloat16 / 2}


def runs_differ(device: torch.device, attention: str, updates: int) -> dict[str, float]:
    """How many tensors trainings from one seed end with that are not bit-equal."""
    case = replace(tiny(CASES["default"]), limit=512, spans=[[20.0, 90.0]] * 2)

    def end(graph: bool) -> Any:
        trainer = training(case, device, attention, rate=0.02, graph=graph)
        for _ in range(updates):
            trainer.update()
        return state_of(trainer)

    captured, again, eager = end(True), end(True), end(False)
    return {
        "two runs": float(different(captured, again)),
        "graph and eager": float(different(captured, eager)),
    }


def different(one: Any, other: Any) -> int:
    """Tensors and numbers of two states that are not equal."""
    match one, other:
        case (dict(), dict()):
            return sum(different(one[key], other[key]) for key in one.keys() | other.keys())
        case (list(), list()) | (tuple(), tuple()):
            return sum(different(*pair) for pair in zip(one, other, strict=True))
        case (Tensor(), Tensor()):
            return int(not torch.equal(one, other))
    return int(one != other)


def first_step(device: torch.device) -> float:
    """Seconds from the start of Python to the end of the first update of the default run."""
    words = [sys.executable, __file__, "--device", str(device), "--first-step", str(time.time())]
    answer = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return float(answer.stdout)


def wait(device: torch.device) -> None:
    """Until it has computed all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_memory(device: torch.device) -> None:
    """Let peaks begin anew."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # which begins to use it
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def show(steps: Sequence[Step], checks: dict[str, float], seconds: float, name: str) -> None:
    """A table and a line of JSON."""
    table = Table(title=f"A step of training on {name}, torch {torch.__version__}")
    for column in ("case", "contender"):
        table.add_column(column)
    for column in ("ms", "least ms", "tokens/s", "GB", "MFU"):
        table.add_column(column, justify="right")
    for step in steps:
        table.add_row(
            step.case,
            step.contender,
            f"{step.milliseconds:.2f}",
            f"{step.milliseconds_least:.2f}",
            f"{step.tokens_per_second:,.0f}",
            "" if step.memory_gb is None else f"{step.memory_gb:.2f}",
            "" if step.mfu is None else f"{step.mfu:.1%}",
        )
    Console(width=110).print(table)
    for what, part in checks.items():
        print(f"{what}: {part:.3g} of what is allowed")
    print(f"first step: {seconds:.1f} s after the start of Python")
    print(
        json.dumps(
            {
                "benchmark": "gpu",
                "device": name,
                "torch": torch.__version__,
                "checks": checks,
                "first_step_seconds": seconds,
                "steps": [asdict(step) for step in steps],
            }
        )
    )


def main() -> None:
    """Check, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reference", type=Path, metavar="DIR", help="checkout of the public code")
    parser.add_argument("--only", default=",".join(CASES), help="some of: %(default)s")
    parser.add_argument("--attention", default="auto", help="as train.attention")
    parser.add_argument("--eager", action="store_true", help="steps that are not captured, too")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="where to add profiles")
    parser.add_argument("--tiny", action="store_true", help="tiny models, to try the script")
    parser.add_argument("--device", type=torch.device, help="default: a GPU if there is one")
    parser.add_argument("--first-step", type=float, metavar="SINCE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = arguments.device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.first_step:
        trainer = training(CASES["default"], device)
        trainer.update()
        wait(device)
        print(time.time() - arguments.first_step)
        return
    names = arguments.only.split(",")
    if unknown := set(names).difference(CASES):
        parser.error(f"--only {','.join(unknown)}: some of {', '.join(CASES)}")
    small = training(tiny(CASES["default"]), device, arguments.attention)
    checks = agrees_with_the_dense_formula(device, small.model.attention) | runs_differ(
        device, arguments.attention, 20 if arguments.tiny else 200
    )
    steps: list[Step] = []
    for name in names:
        case = tiny(CASES[name]) if arguments.tiny else CASES[name]
        contenders: list[Callable[[], Step]] = [
            partial(ours, name, case, device, arguments.attention, arguments.profile, graph=graph)
            for graph in ((True, False) if arguments.eager else (True,))
        ]
        if arguments.reference and name in PUBLIC:
            contenders += [
                partial(public, name, case, device, arguments.reference, precision)
                for precision in (torch.float32, torch.bfloat16)
            ]
        for measured in contenders:
            steps.append(measured())
            step = steps[-1]
            memory = f", {step.memory_gb:.1f} GB" if step.memory_gb else ""
            print(f"{name}, {step.contender}: {step.milliseconds:.2f} ms{memory}", flush=True)
    seconds = first_step(device)
    show(steps, checks, seconds, device_name(device))
    sys.exit(any(not part <= 1 for part in checks.values()))


def device_name(device: torch.device) -> str:
    """As its maker calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


if __name__ == "__main__":
    main()
