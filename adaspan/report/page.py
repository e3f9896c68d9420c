"""A comparison as one HTML file that opens in any browser and needs no network."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.colors import sample_colorscale
from plotly.offline import get_plotlyjs

from adaspan import __version__
from adaspan.files import replacing
from adaspan.report.comparison import Comparison
from adaspan.report.finding import finding, notes
from adaspan.report.groups import Group, Run, thinned
from adaspan.report.paper import AgainstPaper
from adaspan.report.plots import all_plots
from adaspan.report.spans import SCALE, colours
from adaspan.report.style import FEW, looks
from adaspan.report.table import Table, standing_of, table_of, text_of, unfinished
from adaspan.runs.folder import RunFolder

# The slider over training has at most so many places, fewer where all runs together would have more
# spans than that.
_MOST_STEPS, _MOST_SPANS = 50, 200_000


def write_page(
    comparison: Comparison, path: Path, margin: float, against: AgainstPaper | None = None
) -> None:
    """Write the page.

    Args:
        comparison: what it shows.
        path: of the file; links to run folders are relative to it.
        margin: by how much the cheapest run in the finding may be worse than the best.
        against: the papers' rows to show beside the groups.
    """
    environment = Environment(
        loader=PackageLoader("adaspan.report", "."), autoescape=True, undefined=StrictUndefined
    )
    table = table_of(comparison)
    keys, differences = comparison.differences()
    plots = {
        name: json.loads(figure.to_json())
        for name, figure in all_plots(comparison).items()
        if name != "spans"  # it draws those of any run and step itself
    }
    spans = _all_spans(comparison)
    looked = list(zip(comparison.groups, looks(comparison), strict=True))
    page = environment.get_template("page.html.j2").render(
        title=comparison.title,
        measure=comparison.measure,
        counts=Counter(run.state.state for run in comparison.runs),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        finding=finding(comparison, margin),
        notes=notes(comparison),
        columns=table.columns,
        rows=_rows(comparison, table, path.parent),
        unfinished=[
            (group, run, standing_of(run), _links(run, path.parent))
            for group, run in unfinished(comparison)
        ],
        data={"plots": plots, "spans": spans, "spanColours": _span_colours(spans)},
        against=against,
        looked=looked,
        many=len(looked) > FEW,
        keys=keys,
        differences=list(zip(looked, differences, strict=True)) if keys else [],
        plotly_js=get_plotlyjs(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(page.encode())


def _rows(comparison: Comparison, table: Table, beside: Path) -> list[dict[str, Any]]:
    """The rows of the table of groups; links are relative to `beside`."""
    rows = []
    winners = [ranking.leader for ranking in comparison.rankings if ranking.has_winner]
    for group, look, values in zip(comparison.groups, looks(comparison), table.rows, strict=True):
        cells = [
            (
                column,
                "" if (value := values.get(column.key)) is None else value,
                text_of(column, values),
            )
            for column in table.columns
        ]
        links: dict[str, list[tuple[str, str]]] = {}
        for run in group.runs:
            for name, target in _links(run, beside):
                text = name if len(group.runs) == 1 else run.seed
                links.setdefault("" if len(group.runs) == 1 else name, []).append((text, target))
        states = {run.state.state for run in group.runs}
        rows.append(
            {
                "look": look,
                "cells": cells,
                "links": links,
                "best": group in winners,
                "state": states.pop() if len(states) == 1 else "mixed",
            }
        )
    return rows


def _links(run: Run, beside: Path) -> list[tuple[str, str]]:
    """The files of a run to read, as name and link relative to the page's folder."""
    folder = RunFolder(run.path)
    printed = folder.output if folder.output.exists() else folder.log
    return [
        (text, quote(os.path.relpath(target, beside)))
        for text, target in (("config", run.path / "config.yaml"), ("log", printed))
        if target.exists()
    ]


def _all_spans(comparison: Comparison) -> list[dict[str, Any]]:
    """Every head's span over training, of every run: the best first, fixed spans last."""
    groups = [*comparison.done, *(group for group in comparison.groups if not group.done)]
    groups.sort(key=lambda group: not group.learns_spans)
    runs = [(group, run) for group in groups for run in group.runs if run.evaluations]
    heads = sum(run.spans()[1][0].size for _, run in runs)
    most_steps = min(_MOST_STEPS, max(2, _MOST_SPANS // max(1, heads)))
    return [_spans(group, run, most_steps) for group, run in runs]


def _spans(group: Group, run: Run, most_steps: int) -> dict[str, Any]:
    steps, spans_SLH = run.spans()
    kept = thinned(len(steps), most_steps)
    seed = f", seed {run.seed}" if len(group.runs) > 1 else ""
    state = "" if run.is_done else f" ({run.state.state})"
    return {
        "label": f"{group.short_label}{seed}{state}",
        "learned": group.learns_spans,
        "steps": [steps[index] for index in kept],
        "spans": spans_SLH[kept].round(1 if spans_SLH.max() >= 100 else 2).tolist(),
        "colours": sample_colorscale(SCALE, np.linspace(0.2, 0.8, spans_SLH.shape[1]).tolist()),
    }


def _span_colours(spans: list[dict[str, Any]]) -> dict[str, Any]:
    """A scale for all runs that learned their spans, and one for the others."""
    return {
        name: colours(
            max((np.max(run["spans"]) for run in spans if run["learned"] is kind), default=0)
        )
        for name, kind in (("learned", True), ("fixed", False))
    }
