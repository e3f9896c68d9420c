"""Every figure of a run, once: its key in a row of metrics, what it means, how it is written.

Rows, table columns, W&B's names, `hydra.launcher.objectives` and docs/figures.md come from here:

    python -m adaspan.runs.figures > docs/figures.md

A row may hold figures that are not declared here, such as those of an extension that is not
loaded: readers show them under their key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from adaspan.config.kinds.registry import KINDS
from adaspan.errors import UserError
from adaspan.runs.measures import BPB, BPC, MEASURES, Measure
from adaspan.units import si

Row = dict[str, Any]  # flat; "step" first
# When a row is written: every `train.log_every` steps, with a quick evaluation every
# `train.eval_every`, and once with the final evaluation.
Moment = Literal["log", "evaluation", "end"]


def summary_name(key: str) -> str:
    """The key as W&B's summary has it, which sorts and filters by names without a slash only."""
    return key.replace("/", "_")


@dataclass(frozen=True)
class Figure:
    """One number of a row.

    Args:
        key: in a row, in tables for programs, and (see `summary_name`) on W&B.
        title: of a table's column.
        meaning: one line.
        unit: empty for plain numbers.
        better: the direction in which it improves.
        written: the number as a person reads it.
        rows: those that hold it.
        label: where there is room for more than the title, such as along an axis; empty: the title
            and the unit.
    """

    key: str
    title: str
    meaning: str
    unit: str = ""
    better: Literal["lower", "higher", "neither"] = "neither"
    written: Callable[[float], str] = si
    rows: tuple[Moment, ...] = ("log", "evaluation")
    label: str = ""

    @property
    def summary_name(self) -> str:
        """As W&B's summary has it."""
        return summary_name(self.key)

    @property
    def status_name(self) -> str:
        """As `status.json` has it, if it does."""
        return self.key.rpartition("/")[2]

    @property
    def axis(self) -> str:
        """What stands along an axis, or over a plot."""
        return self.label or ", ".join(filter(None, (self.title, self.unit)))

    def rank(self, value: float | None) -> float:
        """Less for a better value, so that sorting puts the best first and those without last.

        Raises:
            ValueError: neither lower nor higher is better.
        """
        if self.better == "neither":
            raise ValueError(f"{self.key}: has no better and worse")
        if value is None:
            return math.inf
        return value if self.better == "lower" else -value


_figures: dict[str, Figure] = {}


def register(figure: Figure) -> Figure:
    """Declare a figure.

    Raises:
        ValueError: its key is another figure's, or W&B could not tell the two apart.
    """
    for other in _figures.values():
        if other != figure and other.summary_name == figure.summary_name:
            raise ValueError(f"figure {figure.key}: {other.key} is declared already; rename one")
    _figures[figure.key] = figure
    return figure


def declared() -> list[Figure]:
    """Every figure, in the order of declaration."""
    return list(_figures.values())


def figure_of(key: str) -> Figure:
    """The figure of a key; of one that nobody has declared, a figure whose title is its key."""
    return _figures.get(key) or Figure(key, title=key, meaning=key, written="{:.4g}".format)


@dataclass(frozen=True)
class Score:
    """A loss in the measure of the run's data: a figure for each, of which a run has one.

    Args:
        prefix: of the keys, which end in the measure's name: `final/valid_`.
    """

    prefix: str
    by_measure: Mapping[str, Figure]

    @property
    def name(self) -> str:
        """What stands for it whatever the data: `final/valid`."""
        return self.prefix.rstrip("_/")

    def of(self, measure: Measure) -> Figure:
        """The figure of a run whose data have this measure."""
        return self.by_measure[measure.name]

    def key(self, measure: Measure) -> str:
        """Of that figure, in a row."""
        return self.of(measure).key

    def within(self, row: Mapping[str, Any]) -> Figure | None:
        """The figure of it that a row has."""
        return next((f for f in self.by_measure.values() if f.key in row), None)

    def value(self, row: Mapping[str, Any]) -> float | None:
        """What a row has of it, in whichever measure."""
        figure = self.within(row)
        return None if figure is None else row[figure.key]

    def told(self, row: Mapping[str, Any]) -> str:
        """The same with its measure: `1.024 bpc`; empty if the row has none."""
        measure = next((m for m in MEASURES if self.key(m) in row), None)
        return (
            "" if measure is None else f"{measure.written(row[self.key(measure)])} {measure.name}"
        )


def _score(
    prefix: str, title: str, meaning: str, rows: tuple[Moment, ...], label: str = ""
) -> Score:
    by_measure = {
        measure.name: register(
            Figure(
                f"{prefix}{measure.name}",
                f"{title} {measure.name}",
                meaning,
                measure.meaning,
                "lower",
                measure.written,
                rows,
                label and f"{measure.name} {label}",
            )
        )
        for measure in MEASURES
    }
    return Score(prefix, by_measure)


def measure_of(rows: Iterable[Mapping[str, Any]]) -> Measure | None:
    """The measure of the scores in a run's rows; None before the first."""
    keys = {score.key(measure): measure for measure in MEASURES for score in SCORES}
    return next((keys[key] for row in rows for key in row if key in keys), None)


def _decimals(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}f}"


def _span(key: str, title: str, meaning: str) -> Figure:
    return register(Figure(key, title, meaning, "tokens", "neither", _decimals(1), _ALL))


_LOG: tuple[Moment, ...] = ("log", "evaluation")
_END: tuple[Moment, ...] = ("end",)
_ALL: tuple[Moment, ...] = (*_LOG, *_END)

STEP = register(Figure("step", "step", "updates so far", rows=_ALL))
TOKENS = register(Figure("tokens", "tokens", "tokens trained on so far", label="tokens read"))

TRAIN = _score("train/", "train", "mean loss of the updates since the previous row", _LOG)
LEARNING_RATE = register(
    Figure("train/learning_rate", "lr", "learning rate of the last update", written="{:.4g}".format)
)
PENALTY = register(
    Figure(
        "train/penalty",
        "penalty",
        "what the training loss adds for spans; mean of the updates since the previous row",
        "nats per token",
        written="{:.3g}".format,
    )
)
# Of weights and of spans apart: a penalty on spans shows in the second only.
_PARTS = {"weights": "weights other than spans", "spans": "spans"}
GRADIENT_NORM = {
    part: register(
        Figure(
            f"gradient/{part}_norm",
            f"gradient of {part}",
            f"norm of the gradient of all {words} before clipping; median of the updates since the "
            "previous row",
            written="{:.3g}".format,
        )
    )
    for part, words in _PARTS.items()
}
CLIPPED = {
    part: register(
        Figure(
            f"gradient/{part}_clipped",
            f"clipped {part}",
            f"share of the tensors of {words} whose step, or gradient, optimizer.grad_clip "
            "shortened; mean of the updates since the previous row",
            written=_decimals(2),
        )
    )
    for part, words in _PARTS.items()
}
CLIPPED_TO = {
    part: register(
        Figure(
            f"gradient/{part}_clipped_to",
            f"{part} clipped to",
            f"factor by which clipping shortened steps, or gradients, of {words}, 1 where it did "
            "not; mean over tensors and the updates since the previous row",
            written="{:.3g}".format,
        )
    )
    for part, words in _PARTS.items()
}
QUICK = _score(
    "valid/",
    "quick",
    "score of a quick evaluation, on part of valid",
    ("evaluation",),
    "on valid, quick evaluation",
)
VALID = _score(
    "final/valid_", "valid", "score of the best weights on all of valid", _END, "on valid"
)
TEST = _score("final/test_", "test", "score of the best weights on all of test", _END, "on test")
ENTROPY = _score(
    "data/entropy_",
    "entropy",
    "score of the best possible predictor on all of valid, where data are made and so know it",
    _END,
)
BEST = _score("best/valid_", "best quick", "score of the best quick evaluation", _END)
LAST = _score("last/valid_", "last quick", "score of the last quick evaluation", _END)
SCORES = (TRAIN, QUICK, VALID, TEST, ENTROPY, BEST, LAST)
PARAMETERS = register(
    Figure("parameters", "parameters", "number of learned parameters", rows=("end",))
)
BEST_STEP = register(
    Figure(
        "best/step",
        "best step",
        "step of the best quick evaluation, whose weights are kept",
        rows=("end",),
    )
)

SPAN_MEAN = _span(
    "span/mean", "mean span", "mean span of all heads; at the end, of the best weights"
)
SPAN_MAX = _span("span/max", "longest", "longest span of a head; at the end, of the best weights")
SPAN_REACH = _span(
    "span/reach", "reach", "past tokens that the longest span sees, its soft edge included"
)

SPAN_LOSS_COEFFICIENT = register(
    Figure(
        "span/loss_coefficient",
        "price",
        "loss coefficient that a budget of spans has found so far",
        "nats per token of mean span",
        written="{:.2e}".format,
    )
)

PAPER_MACS = register(
    Figure(
        "flops/paper_macs_per_token",
        "MACs",
        "multiply-adds per token of the forward pass, as the paper counts them",
        better="lower",
        rows=_ALL,
        label="multiply-adds per token, the paper’s count",
    )
)
PAPER_MACS_WITH_POSITION = register(
    Figure(
        "flops/paper_with_position_macs_per_token",
        "MACs with position",
        "the same with the product of position embeddings, which the paper leaves out",
        better="lower",
        rows=_ALL,
    )
)
ATTENTION_FLOPS = register(
    Figure(
        "flops/attention_per_token",
        "attention FLOPs",
        "FLOPs per token of the forward pass for scores and weighted values, within the mean span "
        "and of persistent keys; a multiply-add is two, the paper counts it once",
        better="lower",
        rows=_ALL,
    )
)
FEED_FORWARD_FLOPS = register(
    Figure(
        "flops/feed_forward_per_token",
        "feed-forward FLOPs",
        "FLOPs per token of the forward pass in feed-forward layers; a multiply-add is two, the "
        "paper counts it once",
        better="lower",
        rows=_ALL,
    )
)
EXECUTED_FLOPS = register(
    Figure(
        "flops/executed_per_token",
        "FLOPs",
        "FLOPs per token of the forward pass: every matrix product that was executed",
        better="lower",
    )
)
TRAINING_FLOPS = register(
    Figure(
        "flops/executed_training",
        "training FLOPs",
        "FLOPs of training so far",
        better="lower",
        label="FLOPs of training, executed",
    )
)

TOKENS_PER_SECOND = register(
    Figure("perf/tokens_per_second", "tokens/s", "tokens per second, in training", better="higher")
)
MEMORY = register(
    Figure(
        "perf/memory_gb",
        "memory",
        "most memory held so far: on a GPU the GPU's, else the process's",
        "10^9 bytes",
        "lower",
        _decimals(1),
    )
)
MFU = register(
    Figure(
        "perf/mfu",
        "MFU",
        "executed FLOPs per second, as a part of the GPU's peak, where that is known",
        better="higher",
        written=_decimals(3),
    )
)

# What rows of an evaluation hold beside single numbers: one figure a head, and on W&B a picture.
HEAD_SPAN = Figure(
    "span/layer_LL/head_H",
    "span",
    "span of one head",
    "tokens",
    "neither",
    _decimals(1),
    ("evaluation",),
)
HEATMAP = Figure(
    "span/heatmap",
    "spans",
    "all heads' spans as a picture, on W&B only",
    "tokens",
    rows=("evaluation",),
)

_BUILT_IN = frozenset([*_figures, HEATMAP.key])
_HEAD = re.compile(HEAD_SPAN.key.replace("LL", r"(\d+)").replace("H", r"(\d+)"))
# Keys of rows that were written before each figure had one name, and what they are called now.
_RENAMED = {
    "val/bpc": QUICK.key(BPC),
    "best/val_bpc": BEST.key(BPC),
    "last/val_bpc": LAST.key(BPC),
}
# Bits a byte were once called bpc, too.
_BYTES_RENAMED = {score.key(BPC): score.key(BPB) for score in SCORES}


def head_span_key(layer: int, head: int) -> str:
    """Where a row of an evaluation has one head's span, in tokens."""
    return HEAD_SPAN.key.replace("LL", f"{layer:02d}").replace("H", str(head))


def head_spans(row: Mapping[str, Any]) -> list[tuple[int, int, float]]:
    """Layer, head and span in tokens of every head; empty for a row that is no evaluation's."""
    matches = ((_HEAD.fullmatch(key), value) for key, value in row.items())
    return sorted((int(match[1]), int(match[2]), value) for match, value in matches if match)


def own_keys() -> list[str]:
    """Keys of the figures that extensions have registered."""
    return [*KINDS["figure"]]


def check_own_keys() -> None:
    """Refuse figures of extensions whose keys are taken.

    Raises:
        UserError: one of them is a figure of ours, or W&B could not tell the two apart.
    """
    ours = {figure.summary_name for figure in (*declared(), HEATMAP)}
    for key in own_keys():
        if summary_name(key) in ours or is_built_in(key):
            raise UserError(
                f'register("figure", "{key}"): this key belongs to a built-in figure; '
                "choose another"
            )


def is_built_in(key: str) -> bool:
    """Whether a row's value of this key is ours, not an extension's."""
    return key in _BUILT_IN or _HEAD.fullmatch(key) is not None


def is_final(row: Mapping[str, Any]) -> bool:
    """Whether this is the row of the final evaluation, which has the last step's number, too."""
    return VALID.value(row) is not None


def with_present_keys(row: Row, unit_of: Callable[[], str | None]) -> Row:
    """A row under the keys of today, whenever it was written.

    Args:
        row: as it stands in the file.
        unit_of: what the tokens of the run are; called only where it matters.
    """
    if _RENAMED.keys() & row.keys():
        row = {_RENAMED.get(key, key): value for key, value in row.items()}
    if _BYTES_RENAMED.keys() & row.keys() and unit_of() == "bytes":
        row = {_BYTES_RENAMED.get(key, key): value for key, value in row.items()}
    return row


def documentation() -> str:
    """docs/figures.md."""
    lines = [
        "# Figures",
        "",
        "What the rows of a run's `metrics.jsonl` hold. Tables for programs and",
        "`hydra.launcher.objectives` use the same keys; W&B's summary has `_` in place of `/`.",
        "Rows come every `train.log_every` steps (log), with a quick evaluation every",
        "`train.eval_every` (evaluation), and once at the end. A head's span is under the numbers",
        f"of its layer and head, both from 0: `{head_span_key(3, 5)}`.",
        "",
        "How well the text is predicted is told in the unit of its tokens: `bpb`, bits per byte;",
        "`bpc`, bits per character; `ppl`, perplexity, of words. A run has one of them. As an",
        f"objective, `{VALID.name}` and `{TEST.name}` stand for the one that it has.",
        "",
        "| key | title | what it is | unit | better | rows |",
        "|---|---|---|---|---|---|",
    ]
    first = {score.key(MEASURES[0]): score for score in SCORES}
    others = {score.key(measure) for measure in MEASURES[1:] for score in SCORES}
    for figure in (*declared(), HEAD_SPAN, HEATMAP):
        if figure.key in others:
            continue
        score = first.get(figure.key)
        cells = (
            f"`{figure.key}`" if score is None else " ".join(f"`{score.key(m)}`" for m in MEASURES),
            figure.title if score is None else figure.title.removesuffix(f" {MEASURES[0].name}"),
            figure.meaning,
            figure.unit if score is None else "of the data",
            "" if figure.better == "neither" else figure.better,
            ", ".join(figure.rows),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(documentation(), end="")
