"""Check the cluster itself."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from adaspan.cli.choose import runs_option
from adaspan.slurm.doctor import examine
from adaspan.status.table import show


@click.command()
@runs_option
@click.option("--partition", help="Partition to check; default: the site's.")
def doctor(output_dir: Path, partition: str | None) -> None:
    """Check what this cluster offers."""
    table = Table(title="This cluster")
    for column in ("what", "found", "which means"):
        table.add_column(column, overflow="fold")
    findings = list(examine(output_dir, partition))
    for finding in findings:
        table.add_row(finding.what, finding.value, finding.meaning)
    show(table)
    if not all(finding.good for finding in findings):
        raise SystemExit(1)
