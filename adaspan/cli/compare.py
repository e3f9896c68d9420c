"""Runs side by side."""

from __future__ import annotations

from pathlib import Path

import click

from adaspan.cli.choose import chosen_runs, runs_option
from adaspan.terminal import show


@click.command()
@click.argument("sweep", required=False)
@runs_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "text", "md", "csv", "json"]),
    default="html",
    show_default=True,
    help="A page, or the table to the terminal.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it.")
@click.option(
    "--margin",
    type=click.FloatRange(min=0),
    default=0.02,
    show_default=True,
    help="bpc by which the cheaper run that is named may be worse than the best.",
)
@click.option("--open", "open_it", is_flag=True, help="Open the page in the browser.")
def report(
    sweep: str | None, output_dir: Path, form: str, out: Path | None, margin: float, open_it: bool
) -> None:
    """Compare the runs of SWEEP, or all runs: as a page that needs no network, or as a table."""
    from adaspan.report import export
    from adaspan.report.comparison import compare
    from adaspan.report.page import write_page
    from adaspan.report.table import finding

    title, runs = chosen_runs(output_dir, sweep)
    comparison = compare(title, runs)
    if form == "html":
        folder = output_dir / "sweeps" / title if sweep else output_dir
        path = out or folder / "report.html"
        write_page(comparison, path, margin)
        click.echo(f"{finding(comparison, margin)}\npage    {path}")
        if open_it:
            click.launch(str(path))
        return
    if form == "text" and out is None:
        click.echo(finding(comparison, margin))
        show(export.to_table(comparison))
        return
    text = {
        "text": lambda: export.to_markdown(comparison, margin),
        "md": lambda: export.to_markdown(comparison, margin),
        "csv": lambda: export.to_csv(comparison),
        "json": lambda: export.to_json(comparison, margin),
    }[form]()
    if out:
        out.write_text(text)
    else:
        click.echo(text, nl=False)
