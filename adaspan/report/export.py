"""The table of a comparison for papers, scripts and terminals."""

from __future__ import annotations

import csv
import io
import json

from rich.table import Table
from tabulate import tabulate

from adaspan.report.comparison import Comparison
from adaspan.report.table import columns_of, finding, text_of, values_of


def to_csv(comparison: Comparison) -> str:
    """A row a group, exact values."""
    columns = columns_of(comparison)
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(column.key for column in columns)
    for group in comparison.groups:
        values = values_of(group)
        writer.writerow(values.get(column.key) for column in columns)
    return written.getvalue()


def to_json(comparison: Comparison, margin: float) -> str:
    """The finding, and an object a group with exact values and the folders of its runs."""
    groups = [
        {
            "varies": group.varies,
            **{c.key: values_of(group).get(c.key) for c in columns_of(comparison)},
            "runs": [str(run.folder) for run in group.runs],
        }
        for group in comparison.groups
    ]
    said = {"title": comparison.title, "finding": finding(comparison, margin), "groups": groups}
    return json.dumps(said, indent=2) + "\n"


def to_markdown(comparison: Comparison, margin: float) -> str:
    """The finding and the table, as a person reads them."""
    columns = columns_of(comparison)
    rows = [
        [text_of(column, values) for column in columns]
        for values in (values_of(group) for group in comparison.groups)
    ]
    table = tabulate(
        rows,
        [column.title for column in columns],
        tablefmt="github",
        colalign=["right" if column.is_number else "left" for column in columns],
        disable_numparse=True,
    )
    return f"{finding(comparison, margin)}\n\n{table}\n"


def to_table(comparison: Comparison) -> Table:
    """For a terminal."""
    table = Table(title=comparison.title, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    columns = columns_of(comparison)
    for column in columns:
        table.add_column(column.title, justify="right" if column.is_number else "left")
    for group in comparison.groups:
        values = values_of(group)
        table.add_row(*(text_of(column, values) for column in columns))
    return table
