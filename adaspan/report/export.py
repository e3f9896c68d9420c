"""The table of a comparison for papers and scripts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from adaspan.report.comparison import Comparison
from adaspan.report.finding import finding, notes
from adaspan.report.groups import Group
from adaspan.report.paper import AgainstPaper
from adaspan.report.table import standing_of, table_of, unfinished
from adaspan.runs import figures

# What a run that is done adds to its group's means, beside its scores.
_OF_A_RUN = (
    figures.SPAN_MEAN,
    figures.SPAN_MAX,
    figures.EXECUTED_FLOPS,
    figures.PAPER_MACS,
)


@dataclass(frozen=True)
class Part:
    """The runs of one measure.

    Args:
        comparison: of them.
        margin: of its finding.
        against: what the papers print, if it is to be shown beside them.
    """

    comparison: Comparison
    margin: float
    against: AgainstPaper | None = None


def to_csv(parts: Sequence[Part]) -> str:
    """One table with a row for each group, exact values; each measure has columns of its own."""
    written, keys, rows = io.StringIO(), dict[str, None](), []
    for part in parts:
        table, papers = table_of(part.comparison), _of_papers(part.comparison, part.against)
        keys |= dict.fromkeys([*table.keys, *papers[0]])
        wanted = {*table.keys, *papers[0]}
        for own, paper in zip(table.rows, papers, strict=True):
            row = {**own, **paper}
            rows.append({key: value for key, value in row.items() if key in wanted})
    writer = csv.DictWriter(written, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()


def to_json(parts: Sequence[Part]) -> str:
    """The finding, and an object for each group with exact values and its runs; of several measures
    a list of these.
    """
    contents = [_content(part.comparison, part.margin, part.against) for part in parts]
    return json.dumps(contents if len(parts) > 1 else contents[0], indent=2) + "\n"


def _content(
    comparison: Comparison, margin: float, against: AgainstPaper | None
) -> dict[str, object]:
    table, papers = table_of(comparison), _of_papers(comparison, against)
    measure = comparison.measure
    of_a_run = (figures.VALID.of(measure), figures.TEST.of(measure), *_OF_A_RUN)
    groups = [
        {
            "varies": _typed(group),
            **{key: row.get(key) for key in table.keys},
            **paper,
            "runs": [
                {
                    "folder": str(run.path),
                    "seed": run.seed,
                    "state": run.state.state,
                    "step": run.state.step,
                    figures.QUICK.key(measure): run.quick,
                    **{figure.key: run.last.get(figure.key) for figure in of_a_run},
                    "error": run.state.error or None,
                }
                for run in group.runs
            ],
        }
        for group, row, paper in zip(comparison.groups, table.rows, papers, strict=True)
    ]
    remarks = {"remarks": list(against.remarks())} if against else {}
    told = finding(comparison, margin)
    return {
        "title": comparison.title,
        "finding": told,
        "notes": notes(comparison),
        "groups": groups,
        **remarks,
    }


def _of_papers(
    comparison: Comparison, against: AgainstPaper | None
) -> list[dict[str, str | float | None]]:
    """What the papers print, an entry a group."""
    return against.values() if against else [{} for _ in comparison.groups]


def _typed(group: Group) -> dict[str, object]:
    """What varies, numbers as numbers."""
    return {key: group.first.values.get(key, value) for key, value in group.varies.items()}


def to_markdown(comparison: Comparison, margin: float, against: AgainstPaper | None = None) -> str:
    """The finding, the table, and what is not done, as a person reads them."""
    table = table_of(comparison)
    cells = _pipe_table(
        [column.title for column in table.columns],
        table.texts(),
        [column.is_number for column in table.columns],
    )
    missing = [
        f"- {_escaped(f'{run.name}: {standing_of(run)}')}" for _, run in unfinished(comparison)
    ]
    known = [f"- {_escaped(note)}" for note in notes(comparison)]
    parts = [_escaped(finding(comparison, margin)), "\n".join(known), cells, "\n".join(missing)]
    if against:
        lines = against.table()
        numbers = [index > 0 for index in range(len(against.titles))]
        parts.append(_pipe_table(against.titles, lines, numbers) if lines else "")
        parts.append("\n".join(f"- {_escaped(remark)}" for remark in against.remarks()))
    return "\n\n".join(part for part in parts if part) + "\n"


def _pipe_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], are_numbers: Sequence[bool]
) -> str:
    """A Markdown table that is aligned as plain text, too; numbers to the right."""
    lines = [[_escaped(text) for text in row] for row in (titles, *rows)]
    widths = [max(3, *map(cell_len, column)) for column in zip(*lines, strict=True)]
    marks = [
        f"{'-' * (width - 1)}:" if is_number else f":{'-' * (width - 1)}"
        for width, is_number in zip(widths, are_numbers, strict=True)
    ]
    aligned = [
        [
            f"{' ' * (width - cell_len(text))}{text}"
            if is_number
            else f"{text}{' ' * (width - cell_len(text))}"
            for text, width, is_number in zip(line, widths, are_numbers, strict=True)
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (aligned[0], marks, *aligned[1:]))


def _escaped(text: str) -> str:
    """Text that stays text in Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*<[|" else letter for letter in text)
