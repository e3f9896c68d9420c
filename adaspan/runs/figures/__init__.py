"""Every figure of a run, once: its key in a row of metrics, what it means, how it is written.

Rows, table columns, W&B's names, `hydra.launcher.objectives` and docs/figures.md come from here:

    python -m adaspan.runs.figures > docs/figures.md

figure.py    what a figure is, and the list of all
score.py     scores, of which a run has one in the measure of its data
rows.py      what a row holds: the spans of heads, whether it is the last, keys of earlier versions
own.py       figures of a user's own

A row may hold figures that are not declared here, such as those of an extension that is not
loaded: readers show them under their key.
"""

from __future__ import annotations

from collections.abc import Callable

from adaspan.runs.figures.figure import Figure as Figure
from adaspan.runs.figures.figure import Moment
from adaspan.runs.figures.figure import Row as Row
from adaspan.runs.figures.figure import declared as declared
from adaspan.runs.figures.figure import figure_of as figure_of
from adaspan.runs.figures.figure import register as register
from adaspan.runs.figures.figure import summary_name as summary_name
from adaspan.runs.figures.score import declare_score


def _decimals(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}f}"


def _span(key: str, title: str, meaning: str) -> Figure:
    return register(Figure(key, title, meaning, "tokens", "neither", _decimals(1), _ALL))


_LOG: tuple[Moment, ...] = ("log", "evaluation")
_END: tuple[Moment, ...] = ("end",)
_ALL: tuple[Moment, ...] = (*_LOG, *_END)

STEP = register(Figure("step", "step", "updates so far", rows=_ALL))
TOKENS = register(Figure("tokens", "tokens", "tokens trained on so far", label="tokens read"))

TRAIN = declare_score("train/", "train", "mean loss of the updates since the previous row", _LOG)
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
_PULLS = {"prediction": "the prediction", "penalty": "the penalty"}
PULL = {
    of: register(
        Figure(
            f"gradient/spans_{of}_norm",
            f"{of} on spans",
            f"norm of the part of the spans' gradient that {words} gives; median of the updates "
            "since the previous row; adaptive spans only",
            written="{:.3g}".format,
        )
    )
    for of, words in _PULLS.items()
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
QUICK = declare_score(
    "valid/",
    "quick",
    "score of a quick evaluation, on part of valid",
    ("evaluation",),
    "on valid, quick evaluation",
)
VALID = declare_score(
    "final/valid_", "valid", "score of the best weights on all of valid", _END, "on valid"
)
TEST = declare_score(
    "final/test_", "test", "score of the best weights on all of test", _END, "on test"
)
ENTROPY = declare_score(
    "data/entropy_",
    "entropy",
    "score of the best possible predictor on all of valid, where data are made and so know it",
    _END,
)
BEST = declare_score("best/valid_", "best quick", "score of the best quick evaluation", _END)
LAST = declare_score("last/valid_", "last quick", "score of the last quick evaluation", _END)
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
        "paper MACs",
        "multiply-adds per token of the forward pass, as the paper counts them",
        better="lower",
        rows=_ALL,
        label="multiply-adds per token, the paper’s count",
    )
)
PAPER_MACS_WITH_POSITION = register(
    Figure(
        "flops/paper_with_position_macs_per_token",
        "paper MACs with position",
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
        "and of persistent keys; a multiply-add is two",
        better="lower",
        rows=_ALL,
    )
)
FEED_FORWARD_FLOPS = register(
    Figure(
        "flops/feed_forward_per_token",
        "feed-forward FLOPs",
        "FLOPs per token of the forward pass in feed-forward layers; a multiply-add is two",
        better="lower",
        rows=_ALL,
    )
)
PAPER_ATTENTION_MACS = register(
    Figure(
        "flops/paper_attention_macs_per_token",
        "attention MACs",
        "the part of the paper's count that is scores and weighted values: L 2 D (z + P)",
        better="lower",
        rows=_ALL,
    )
)
PAPER_FEED_FORWARD_MACS = register(
    Figure(
        "flops/paper_feed_forward_macs_per_token",
        "feed-forward MACs",
        "the part of the paper's count that is feed-forward layers: L 2 D F",
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
        label="FLOPs per token, executed",
    )
)
FIXED_FLOPS = register(
    Figure(
        "flops/fixed_per_token",
        "FLOPs if fixed",
        "the same, if every head had looked back as far as the limit",
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
PROCESSES = register(
    Figure("perf/processes", "processes", "processes that train together, one a GPU")
)
THREADS = register(Figure("perf/threads", "threads", "threads of each process, on the CPU"))
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
