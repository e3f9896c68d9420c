"""A comparison as one HTML file that opens in any browser and asks no network for anything."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from adaspan.files import replacing
from adaspan.report.comparison import Comparison, Group, Run
from adaspan.report.plots import all_plots
from adaspan.report.table import columns_of, finding, state_of, text_of, values_of
from adaspan.run_folder import RunFolder

# The slider over training has at most so many places.
_MOST_STEPS = 50


def write_page(comparison: Comparison, path: Path, margin: float) -> None:
    """Write the page.

    Args:
        comparison: what it shows.
        path: of the file; links to run folders are relative to it.
        margin: bpc by which the cheaper run that it names may be worse than the best.
    """
    environment = Environment(
        loader=PackageLoader("adaspan.report", "."), autoescape=True, undefined=StrictUndefined
    )
    columns = columns_of(comparison)
    page = environment.get_template("page.html.j2").render(
        title=comparison.title,
        counts=_counts(comparison),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=metadata.version("adaspan"),
        finding=finding(comparison, margin),
        columns=[
            *({"title": c.title, "number": c.is_number} for c in columns),
            {"title": "files", "number": False},
        ],
        rows=[_row(comparison, group, path.parent) for group in comparison.groups],
        plots={n: json.loads(figure.to_json()) for n, figure in all_plots(comparison).items()},
        spans=[told for run in comparison.runs if (told := _spans(run))],
        names=[run.name for run in comparison.runs],
        differences=_differences(comparison),
        plotly_js=get_plotlyjs(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(page.encode())


def _counts(comparison: Comparison) -> str:
    counts: dict[str, int] = {}
    for run in comparison.runs:
        counts[run.state.state] = counts.get(run.state.state, 0) + 1
    return " · ".join(f"{count} {state}" for state, count in counts.items())


def _row(comparison: Comparison, group: Group, folder: Path) -> dict[str, Any]:
    values = values_of(group)
    cells: list[dict[str, Any]] = [
        {
            "value": "" if values.get(column.key) is None else values[column.key],
            "text": text_of(column, values),
            "number": column.is_number,
            "state": group.runs[0].state.state if column.key == "state" else "",
            "links": [],
        }
        for column in columns_of(comparison)
    ]
    links = [link for run in group.runs for link in _links(run, folder, len(group.runs) > 1)]
    cells.append(
        {"value": state_of(group), "text": "", "number": False, "state": "", "links": links}
    )
    return {"cells": cells, "best": bool(comparison.done) and group is comparison.done[0]}


def _links(run: Run, folder: Path, with_seed: bool) -> list[tuple[str, str]]:
    of = f" {run.values['train.seed']}" if with_seed else ""
    files = RunFolder(run.folder)
    printed = files.output if files.output.exists() else files.log
    return [
        (f"{text}{of}", quote(os.path.relpath(target, folder)))
        for text, target in (("config", run.folder / "config.yaml"), ("log", printed))
        if target.exists()
    ]


def _spans(run: Run) -> dict[str, Any] | None:
    """Every head's span over training, thinned out."""
    steps, spans = run.spans()
    if not steps:
        return None
    stride = -(-len(steps) // _MOST_STEPS)
    kept = list(range(len(steps) - 1, -1, -stride))[::-1]  # the last is always one
    return {
        "label": run.name,
        "steps": [steps[index] for index in kept],
        "means": [round(float(spans[index].mean()), 2) for index in kept],
        "spans": spans[kept].round(2).tolist(),
        "longest": float(spans.max()) or 1.0,
    }


def _differences(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Keys in which configurations differ, and their values run by run."""
    keys = dict.fromkeys(key for run in comparison.runs for key in run.values)
    rows = [(key, [str(run.values.get(key, "")) for run in comparison.runs]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]
