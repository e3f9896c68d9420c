"""A comparison as a report on Weights & Biases, in its own panels: the runs, the groups and the
order of the local page, below the same finding and table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb_workspaces.expr as expr
import wandb_workspaces.reports.v2 as wr

from adaspan.config.kinds.registry import GROUPS
from adaspan.errors import UserError
from adaspan.files import read_json, replacing, write_json
from adaspan.report.comparison import Comparison
from adaspan.report.export import to_markdown
from adaspan.report.groups import CODE, Run
from adaspan.runs import figures
from adaspan.runs.figures import Figure
from adaspan.runs.folder import DATA_KEY
from adaspan.tracking.account import report_titles, signed_in
from adaspan.tracking.files import TrackedFiles
from adaspan.tracking.internals import report_specification

# In what runs differ beside their configurations, which are all that W&B has axes for.
_NO_CONFIGURATION = (DATA_KEY, CODE)
_COLUMNS = 24  # of a grid of panels
_HEIGHT = 8  # of a panel, in the same unit
_LONGEST_TITLE = 128  # that W&B takes

_COST = wr.SummaryMetric(figures.EXECUTED_FLOPS.summary_name)
_SPAN_MEAN = wr.SummaryMetric(figures.SPAN_MEAN.summary_name)
_SPAN_MAX = wr.SummaryMetric(figures.SPAN_MAX.summary_name)


def write_specification(comparison: Comparison, margin: float, path: Path) -> None:
    """Write the report that would be saved, as JSON; needs neither a server nor a key."""
    _place(comparison)
    report = _report(comparison, margin, "", "")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write((json.dumps(json.loads(report_specification(report)), indent=2) + "\n").encode())


def save_report(comparison: Comparison, margin: float, record: Path) -> str:
    """Save the report, in place of the one that was saved before from this very folder: another of
    the same title may be somebody else's.

    Args:
        comparison: what it shows.
        margin: by how much the cheapest run in the finding may be worse than the best.
        record: file with the id of the report that was saved before, and the folder it is of.

    Returns:
        Where it can be seen.

    Raises:
        UserError: the runs are not in one project, nobody is signed in, W&B does not answer, or
            has no such project.
    """
    entity, project = _place(comparison)
    with signed_in() as default_entity:
        report = _report(comparison, margin, entity or default_entity, project)
        try:
            titles = report_titles(str(report.entity), project)
        except ValueError as error:
            raise UserError(
                f"tracking.project={project}: {report.entity} has no such project on W&B; adaspan "
                "sync sends runs that were tracked offline"
            ) from error
        before = _saved_before(record)
        report.id = before if before in titles else ""
        report.save()
        write_json(record, {"id": report.id, "url": report.url, "folder": _mark(record.parent)})
        return str(report.url)


def _saved_before(record: Path) -> str:
    """The id of this folder's report; empty if it has none, or came here as a copy of another."""
    saved = read_json(record)
    return str(saved["id"]) if saved.get("folder") == _mark(record.parent) else ""


def _mark(folder: Path) -> int:
    """What a folder keeps when it is moved, and no copy of it has: the number of its inode."""
    return folder.stat().st_ino


def lacking(comparison: Comparison) -> list[Path]:
    """Paths of the runs that W&B lacks, all or in part."""
    tracked = ((run.path, TrackedFiles(run.path)) for run in comparison.runs)
    return [path for path, files in tracked if files.has_news() or not files.path.exists()]


def _place(comparison: Comparison) -> tuple[str | None, str]:
    """Entity and project of the runs."""
    places = {
        (run.values["tracking.entity"], str(run.values["tracking.project"]))
        for run in comparison.runs
        if run.values
    }
    if len(places) > 1:
        named = sorted(f"{entity}/{project}" if entity else project for entity, project in places)
        raise UserError(
            f"tracking.project: the runs of {comparison.title} are in {', '.join(named)}; a W&B "
            "report shows those of one project, so name a sweep that has one"
        )
    if not places:
        raise UserError(f"{comparison.title}: none of its runs has begun, so W&B knows none")
    ((entity, project),) = places
    return None if entity is None else str(entity), project


def _report(comparison: Comparison, margin: float, entity: str, project: str) -> wr.Report:
    varied = _varied(comparison)
    blocks: list[Any] = [wr.MarkdownBlock(text=to_markdown(comparison, margin))]

    done = [run for run in comparison.runs if run.is_done]
    measure = comparison.measure
    valid = figures.VALID.of(measure)

    def section(
        title: str,
        *rows: Sequence[Any],
        runs: Sequence[Run] = comparison.runs,
        groupby: Sequence[str] = (),
    ) -> None:
        runset = _runset(comparison.title, runs, entity, project, groupby, valid)
        blocks.extend([wr.H2(title), _grid(runset, rows)])

    if "span.limit" in varied:
        section("What a longer limit brings, and what it costs", _against_limit(valid))
    if varied:
        section(f"{measure.name} against the cost of a token", [_pareto(valid)])
    # Means over seeds that are done, as everywhere else.
    groupby = [f"config.{_path(key)}" for key in varied]
    curves = _curves(figures.QUICK.of(measure))
    section("How they learned", curves, runs=done or comparison.runs, groupby=groupby)
    section("Spans, head by head", _bars(), [_heatmaps()])
    if varied:
        section(
            "All that was varied",
            [_parameters(varied, valid)],
            [wr.ParameterImportancePlot(with_respect_to=valid.summary_name)],
        )
        section("How the configurations differ", [wr.RunComparer(diff_only="split")])
    return wr.Report(
        entity=entity,
        project=project,
        # It becomes a part of an address; all runs bear the name of their folder.
        title=re.sub(r"[^\w.-]+", "-", comparison.title).strip("-")[-_LONGEST_TITLE:],
        blocks=blocks,
        width="fluid",
    )


def _varied(comparison: Comparison) -> list[str]:
    """The keys in which the configurations of groups differ that have them."""
    keys, values = comparison.differences()
    differing = {key: {of_group[i] for of_group in values} - {""} for i, key in enumerate(keys)}
    return [
        key
        for key, distinct in differing.items()
        if len(distinct) > 1 and key not in _NO_CONFIGURATION
    ]


def _runset(
    title: str,
    runs: Sequence[Run],
    entity: str,
    project: str,
    groupby: Sequence[str],
    valid: Figure,
) -> wr.Runset:
    """These runs and no others, the best first."""
    ids = sorted(_id(run.path) for run in runs)
    return wr.Runset(
        entity=entity,
        project=project,
        name=title,
        filters=expr.And(expr.Metric("ID").isin(ids)),
        groupby=list(groupby),
        order=[wr.OrderBy(_in_summary(valid), ascending=True)],
    )


def _id(path: Path) -> str:
    """What W&B knows a run by: its identity, or what it was given as it was started last."""
    return TrackedFiles(path).last_run_id() or path.name.rpartition("-")[2]


def _grid(runset: wr.Runset, rows: Sequence[Sequence[Any]]) -> wr.PanelGrid:
    """Panels in rows, those of a row equally wide."""
    for y, row in enumerate(rows):
        width = _COLUMNS // len(row)
        for x, panel in enumerate(row):
            panel.layout = wr.Layout(x=x * width, y=y * _HEIGHT, w=width, h=_HEIGHT)
    return wr.PanelGrid(runsets=[runset], panels=[panel for row in rows for panel in row])


def _path(key: str) -> str:
    """Where W&B has a key of the configuration: a group's own name stands for its kind."""
    return f"{key}.kind" if key in GROUPS else key


def _in_summary(figure: Figure) -> wr.SummaryMetric:
    return wr.SummaryMetric(figure.summary_name)


def _against_limit(valid: Figure) -> list[wr.ScatterPlot]:
    """Figure 3 of the paper."""
    return [
        wr.ScatterPlot(title=title, x=wr.Config("span.limit"), y=figure, log_x=True)
        for title, figure in (
            (valid.axis, _in_summary(valid)),
            (figures.SPAN_MEAN.axis, _SPAN_MEAN),
            (figures.EXECUTED_FLOPS.axis, _COST),
        )
    ]


def _pareto(valid: Figure) -> wr.ScatterPlot:
    """The line joins the lowest scores so far, as measured."""
    return wr.ScatterPlot(
        title=f"{valid.axis} against {figures.EXECUTED_FLOPS.axis}",
        x=_COST,
        y=_in_summary(valid),
        log_x=True,
        running_ymin=True,
    )


def _curves(quick: Figure) -> list[wr.LinePlot]:
    """A line a group, with a band of one standard deviation over seeds."""
    return [
        wr.LinePlot(
            title=title,
            x=x,
            y=[quick.key],
            title_x=title_x,
            title_y=quick.axis,
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            max_runs_to_show=100,
        )
        for title, x, title_x in (
            ("by tokens", figures.TOKENS.key, figures.TOKENS.axis),
            ("by FLOPs", figures.TRAINING_FLOPS.key, figures.TRAINING_FLOPS.axis),
        )
    ]


def _bars() -> list[wr.BarPlot]:
    return [
        wr.BarPlot(title=figures.SPAN_MEAN.axis, metrics=[_SPAN_MEAN.name], orientation="h"),
        wr.BarPlot(title=figures.SPAN_MAX.axis, metrics=[_SPAN_MAX.name], orientation="h"),
    ]


def _heatmaps() -> wr.MediaBrowser:
    """Layers by heads, run beside run, with W&B's slider over the steps."""
    return wr.MediaBrowser(
        title="spans", media_keys=[figures.HEATMAP.key], gallery_axis="run", num_columns=3
    )


def _parameters(varied: Sequence[str], valid: Figure) -> wr.ParallelCoordinatesPlot:
    """A line a run through all that varies, to its score and its cost."""
    axes: list[tuple[Any, str]] = [(wr.Config(_path(key)), key) for key in varied]
    axes += [(_in_summary(valid), valid.axis), (_COST, figures.EXECUTED_FLOPS.axis)]
    columns = [
        wr.ParallelCoordinatesPlotColumn(metric=metric, display_name=name) for metric, name in axes
    ]
    return wr.ParallelCoordinatesPlot(columns=columns)
