"""python -m adaspan.runs.figures > docs/figures.md"""

from __future__ import annotations

from adaspan.errors import reported_in_one_line
from adaspan.runs.figures import HEAD_SPAN, HEATMAP, SCORES, TEST, VALID, declared
from adaspan.runs.figures.rows import head_span_key
from adaspan.runs.measures import MEASURES


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
    with reported_in_one_line():
        print(documentation(), end="")
