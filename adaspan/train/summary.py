"""The words and figures a run greets with, reports at each evaluation, and ends on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from adaspan.config.schema import RunConfig
from adaspan.data import Corpus
from adaspan.nn.flops import Shape, paper_macs_per_token
from adaspan.places import LAUNCH
from adaspan.runs.folder import Row
from adaspan.units import si

_BARS = "▁▂▃▄▅▆▇█"


def opening_lines(
    run: RunConfig, corpus: Corpus, parameters: int, computing: str, folder: Path
) -> list[str]:
    """What is about to be trained, on what and where."""
    model = run.model
    unit = "characters" if corpus.characters else "bytes"
    sizes = " / ".join(f"{len(split):,}" for split in (corpus.train, corpus.valid, corpus.test))
    return [
        f"run     {folder}",
        f"model   {parameters / 1e6:.2f}M parameters · {model.layers} layers of {model.dim} · "
        f"{model.heads} heads · {run.span.kind} span, at most {run.span.limit} tokens",
        f"data    {corpus.name} · train / valid / test {sizes} {unit} · "
        f"{corpus.vocabulary_size} symbols",
        f"device  {computing} · W&B {run.tracking.mode}",
    ]


def evaluation_line(row: Row, steps: int) -> str:
    """One row of metrics, at an evaluation."""
    width = len(str(steps))
    return f"step {row['step']:>{width}}/{steps} · valid {row['val/bpc']:.3f} bpc · {figures(row)}"


def figures(row: Row) -> str:
    """What changes from log to log."""
    return (
        f"train {row['train/bpc']:.3f} bpc · span mean {row['span/mean']:.0f} "
        f"max {row['span/max']:.0f} · {row['perf/tokens_per_second'] / 1e3:.1f}k tokens/s"
    )


def closing_lines(
    run: RunConfig, shape: Shape, final: Row, spans_LH: Sequence[Sequence[float]], folder: Path
) -> list[str]:
    """The result: scores, spans, cost, and what to type next.

    Args:
        run: the configuration.
        shape: of the model.
        final: the row of the final evaluation.
        spans_LH: the spans of the model that was evaluated, in tokens.
        folder: the run folder.
    """
    limit = run.span.limit
    longest = max(max(spans) for spans in spans_LH)
    cost = final["flops/paper_macs_per_token"]
    fixed_cost = paper_macs_per_token(shape, limit)
    return [
        "",
        f"bpc     best {final['best/val_bpc']:.3f} (quick, step {final['best/step']}) · "
        f"last {final['last/val_bpc']:.3f} (quick) · "
        f"valid {final['final/valid_bpc']:.3f} · test {final['final/test_bpc']:.3f}",
        f"spans   a bar a head, the tallest {longest:.1f} of at most {limit} tokens",
        *(f"        {line}" for line in span_picture(spans_LH)),
        f"FLOPs   {si(cost)} a token (multiply-adds, as the paper counts)"
        + (
            ""
            if run.span.kind == "fixed"
            else f"; fixed span {limit}: {si(fixed_cost)}, {fixed_cost / cost:.2f} times as many"
        ),
        f"folder  {folder}",
        f"next    {LAUNCH} --config-path {shlex.quote(str(folder.resolve()))} "
        f"--config-name config "
        f"train.seed={run.train.seed + 1}",
    ]


def span_picture(spans_LH: Sequence[Sequence[float]]) -> list[str]:
    """One line a layer, one bar a head, its height on the scale from 0 to the longest span."""
    longest = max(max(spans) for spans in spans_LH) or 1.0
    width = len(str(len(spans_LH) - 1))
    lines = []
    for layer, spans in enumerate(spans_LH):
        bars = "".join(_BARS[min(7, int(8 * span / longest))] for span in spans)
        mean = sum(spans) / len(spans)
        lines.append(f"layer {layer:>{width}}  {bars}  mean {mean:.1f}  max {max(spans):.1f}")
    return lines
