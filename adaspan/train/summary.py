"""The lines that a run prints: at its start, at each evaluation, at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adaspan.config.keys import values_of
from adaspan.config.kinds.span import SpanConfig
from adaspan.config.schema import ModelConfig, RunConfig
from adaspan.data import Corpus
from adaspan.nn.flops import paper_macs_per_token
from adaspan.runs import figures
from adaspan.runs.command import typed
from adaspan.runs.figures import Row
from adaspan.runs.measures import Measure
from adaspan.train.continuation import continuation_lines
from adaspan.train.trainer import Trainer
from adaspan.units import si

_BARS = "▁▂▃▄▅▆▇█"


def opening_lines(
    config: RunConfig, corpus: Corpus, trainer: Trainer, computing: Mapping[str, Any], path: Path
) -> list[str]:
    """What is about to be trained, on what and where.

    Args:
        config: of the run.
        corpus: what it reads.
        trainer: has the model.
        computing: what `auto` became, by name.
        path: of the run folder.
    """
    parameters = sum(p.numel() for p in trainer.model.parameters())
    entropy = _entropy(config.data.entropy_nats(corpus.valid), trainer.measure)
    device = " ".join(filter(None, (computing["device"], computing["gpu"])))
    sizes = " / ".join(f"{len(split):,}" for split in (corpus.train, corpus.valid, corpus.test))
    return [
        f"run     {path}",
        f"model   {parameters / 1e6:.2f}M parameters · {_layers(config.model)}",
        f"span    {_span(config.span)}",
        *(f"note    {note}" for note in config.span.notes_in(config)),
        f"data    {corpus.name} · train / valid / test {sizes} "
        f"{corpus.vocabulary.unit} · {len(corpus.vocabulary):,} symbols"
        f"{entropy}{_unknown(corpus)}{_files(config)}",
        f"format  {corpus.facts.told}",
        f"device  {device} · {computing['precision']} · "
        f"attention {computing['attention']} · W&B {config.tracking.mode}",
    ]


def _layers(model: ModelConfig) -> str:
    parts = [
        f"{model.layers} layer{'s' * (model.layers > 1)} of {model.dim}",
        f"{model.heads} head{'s' * (model.heads > 1)}",
    ]
    if model.persistent:
        parts.append(f"{model.persistent} persistent keys a head")
    if not model.ffn_dim:
        parts.append("no feed-forward")
    return " · ".join(parts)


def _span(span: SpanConfig) -> str:
    """The kind of a span and its keys, for these make one run another."""
    keys = [
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values_of(span).items()
        if key != "kind" and value is not None
    ]
    return " · ".join([span.kind, *keys])


def _unknown(corpus: Corpus) -> str:
    """How many words of valid and test train has not; each is read as <unk>."""
    counts = [f"{count:,} of {split}" for split, count in corpus.unknown.items() if count]
    return f" · unknown words: {', '.join(counts)}" if counts else ""


def _files(config: RunConfig) -> str:
    names = config.data.split_names()
    return f" · files {', '.join(names)}" if names else ""


def _entropy(nats: float | None, measure: Measure) -> str:
    """The entropy of the data, which no model can score below, where it is known."""
    if nats is None:
        return ""
    return f" · entropy of valid {measure.written(measure.of_nats(nats))} {measure.name}"


def evaluation_line(row: Row, steps: int) -> str:
    """One row of metrics, at an evaluation."""
    width = len(str(steps))
    return (
        f"step {row['step']:>{width}}/{steps} · valid {figures.QUICK.told(row)} · {progress(row)}"
    )


def progress(row: Row) -> str:
    """What changes from log to log."""
    return (
        f"train {figures.TRAIN.told(row)} · span mean {row[figures.SPAN_MEAN.key]:.0f} "
        f"max {row[figures.SPAN_MAX.key]:.0f} · "
        f"{_thousands(row[figures.TOKENS_PER_SECOND.key])} tokens/s"
    )


def _thousands(number: float) -> str:
    return f"{number / 1e3:.1f}k" if number >= 1e3 else f"{number:.0f}"


def closing_lines(
    config: RunConfig,
    corpus: Corpus,
    trainer: Trainer,
    final: Row,
    last_row: Row,
    path: Path,
) -> list[str]:
    """The result: scores, spans, cost, a line of text, and what to type next.

    Args:
        config: of the run.
        corpus: what it has read.
        trainer: has the weights that were evaluated.
        final: the row of the final evaluation.
        last_row: of training; one of an earlier version does not say what fixed spans had executed.
        path: of the run folder.
    """
    limit, ramp = config.span.limit, trainer.model.spans[0].ramp
    spans_LH = trainer.spans_LH.tolist()
    longest = max(max(spans) for spans in spans_LH)
    counted = final[figures.PAPER_MACS.key]
    if_fixed = paper_macs_per_token(trainer.shape, limit)
    executed = last_row[figures.EXECUTED_FLOPS.key]
    measure = trainer.measure
    best, last, valid, test = (
        measure.written(final[score.key(measure)])
        for score in (figures.BEST, figures.LAST, figures.VALID, figures.TEST)
    )
    return [
        "",
        f"{measure.name}     best {best} (quick, step {final[figures.BEST_STEP.key]}) · "
        f"last {last} (quick) · valid {valid} · test {test}",
        f"spans   a bar per head, the tallest {longest:.1f} of at most {limit} tokens"
        + ("" if ramp is None else f", and beyond each the ramp of {ramp:g}"),
        *(f"        {line}" for line in span_picture(spans_LH)),
        f"FLOPs   {si(counted)} per token (multiply-adds, as the paper counts)"
        + _beside_fixed(counted, if_fixed, limit),
        f"        {si(executed)} per token executed (two a multiply-add, last update)"
        + _beside_fixed(executed, last_row.get(figures.FIXED_FLOPS.key) or executed, limit),
        *continuation_lines(trainer.model, corpus.vocabulary, corpus.test, seed=config.train.seed),
        f"folder  {path}",
        f"next    {typed(path, f'train.seed={config.train.seed + 1}')}",
    ]


def _beside_fixed(cost: float, if_fixed: float, limit: int) -> str:
    if cost >= if_fixed:
        return ""
    return f"; fixed span {limit}: {si(if_fixed)}, {if_fixed / cost:.2f} times as many"


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
