"""Curves of training: the score on valid against tokens or FLOPs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go

from adaspan.report.comparison import Comparison
from adaspan.report.groups import Curve, Group, Run
from adaspan.report.style import (
    COUNTS,
    Look,
    log_ticks,
    looks,
    name_x,
    name_y,
    plain,
    text,
    transparent,
)
from adaspan.runs import figures
from adaspan.runs.measures import Measure

# A curve has at most so many points, and all of a plot together.
_MOST_POINTS, _MOST_POINTS_IN_ALL = 500, 20_000
# Where the frame around curves begins: earlier, they fall from so high that the rest looks flat.
SHOWN_FROM = 0.1


def curves(comparison: Comparison, against: str) -> go.Figure:
    """Quick looks at valid against tokens read or FLOPs of training.

    A line a group, the mean over the seeds that are done, with a band over them; runs that are not
    done are lines of their own, dashed, with a cross where one failed.
    """
    figure = plain(comparison)
    most = min(_MOST_POINTS, max(2, _MOST_POINTS_IN_ALL // len(comparison.runs)))
    drawn: list[tuple[int, Curve]] = []
    for group, look in zip(comparison.groups, looks(comparison), strict=True):
        mean = group.curve()
        if mean is not None:
            drawn.append((group.first.state.steps, mean))
            _add_curve(figure, group, look, mean.thinned(most), against, comparison.measure)
        for run in group.not_done:
            if (own := run.curve()) is not None:
                drawn.append((run.state.steps, own))
                thin = own.thinned(most)
                _add_unfinished(figure, group, run, look, thin, against, comparison.measure)
    if against == "tokens":
        name_x(figure, figures.TOKENS.axis, tickformat=COUNTS, nticks=7)
    else:
        flops = np.concatenate([np.empty(0), *(curve.flops for _, curve in drawn)])
        title = figures.TRAINING_FLOPS.axis
        name_x(figure, title, type="log", tickformat=COUNTS, **log_ticks(flops))
    name_y(figure, figures.QUICK.of(comparison.measure).axis, range=_frame(drawn))
    return figure


def _add_curve(
    figure: go.Figure, group: Group, look: Look, curve: Curve, against: str, measure: Measure
) -> None:
    x = curve.tokens if against == "tokens" else curve.flops
    if curve.spread.any():
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]),
            y=np.concatenate([curve.valid + curve.spread, (curve.valid - curve.spread)[::-1]]),
            fill="toself",
            fillcolor=transparent(look.colour, 0.18),
            mode="none",
            hoverinfo="skip",
            showlegend=False,
            legendgroup=group.label,
        )
    figure.add_scatter(
        x=x,
        y=curve.valid,
        customdata=np.stack([curve.steps, curve.spread], axis=1),
        name=text(group.short_label),
        legendgroup=group.label,
        mode="lines+markers",
        line={"color": look.colour, "width": 2},
        marker=_at_the_end(len(x), look.marker),
        hovertemplate=_hover(len(group.done), against, measure),
    )


def _add_unfinished(
    figure: go.Figure,
    group: Group,
    run: Run,
    look: Look,
    curve: Curve,
    against: str,
    measure: Measure,
) -> None:
    x = curve.tokens if against == "tokens" else curve.flops
    failed = bool(run.state.error)
    name = f"{group.short_label}, seed {run.seed}: {run.state.state}"
    figure.add_scatter(
        x=x,
        y=curve.valid,
        customdata=np.stack([curve.steps, curve.spread], axis=1),
        name=text(name),
        legendgroup=group.label,
        mode="lines+markers",
        line={"color": look.colour, "width": 1.5, "dash": "dash"},
        marker=_at_the_end(len(x), "x" if failed else f"{look.marker}-open"),
        hovertemplate=_hover(1, against, measure),
    )


def _hover(seeds: int, against: str, measure: Measure) -> str:
    spread = f" ± %{{customdata[1]:{measure.hover}}}" if seeds > 1 else ""
    unit = "tokens" if against == "tokens" else "FLOPs"
    return (
        f"<b>%{{fullData.name}}</b><br>%{{y:{measure.hover}}}{spread} {measure.name}, "
        "quick evaluation"
        f"<br>%{{x:.3s}} {unit}, step %{{customdata[0]:,}}<extra></extra>"
    )


def _at_the_end(count: int, symbol: str) -> dict[str, object]:
    """A marker at the last of `count` points."""
    return {"symbol": symbol, "size": [0] * (count - 1) + [8], "opacity": 1, "line": {"width": 0}}


def _frame(drawn: Iterable[tuple[int, Curve]]) -> list[float] | None:
    """The scores that are in view; None for all.

    Args:
        drawn: curves, and the steps that the whole training has.
    """
    late = [curve.valid[curve.steps >= SHOWN_FROM * steps] for steps, curve in drawn]
    values = np.concatenate([np.empty(0), *late])
    if len(values) < 2 or values.min() == values.max():
        return None
    margin = 0.05 * (values.max() - values.min())
    return [float(values.min() - margin), float(values.max() + margin)]
