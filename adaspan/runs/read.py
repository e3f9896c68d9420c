"""The figures of a run as tables, for notebooks and scripts of one's own. Without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adaspan.runs.figures import Row
from adaspan.runs.figures.rows import head_spans
from adaspan.runs.folder import open_folder


def read(folder: str | Path) -> tuple[Any, Any]:
    """All figures that a run has recorded, and every head's span.

    Args:
        folder: of the run; it may still be training.

    Returns:
        rows: one a record, under the keys of docs/figures.md; the last of a finished run holds its
            final scores.
        spans: one per step, layer and head, with the `span` in tokens, for each evaluation.

        Each is a pandas DataFrame if pandas is installed, else a list of dictionaries.

    Raises:
        UserError: there is no run in this folder.
        RunError: its record is damaged.
        ValueError: this is no path.
    """
    rows = open_folder(folder).rows()
    spans: list[Row] = [
        {"step": row["step"], "layer": layer, "head": head, "span": span}
        for row in rows
        for layer, head, span in head_spans(row)
    ]
    try:
        import pandas
    except ImportError:
        return rows, spans
    columns = ["step", "layer", "head", "span"]  # there may be no rows
    return pandas.DataFrame(rows), pandas.DataFrame(spans, columns=columns)
