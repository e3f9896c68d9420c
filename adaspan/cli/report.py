"""Compare runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adaspan.cli.choose import chosen_runs, runs_option
from adaspan.console import Console
from adaspan.errors import UserError, from_extra
from adaspan.files import replacing
from adaspan.status.find import typed_words_of

if TYPE_CHECKING:
    from adaspan.report.comparison import Comparison
    from adaspan.report.paper import AgainstPaper

# Of text that goes to a file.
_WIDTH = 80
# Exact values, which a program reads as one.
_FOR_PROGRAMS = ("csv", "json")


@click.command()
@click.argument("sweep", required=False)
@runs_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "text", "md", "csv", "json", "png"]),
    default="html",
    show_default=True,
    help="html: a page; text: for a terminal; md, csv, json: a table; png: the figures.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to write, for png a folder. Default: the sweep's folder; tables go to the terminal.",
)
@click.option(
    "--wandb", "on_wandb", is_flag=True, help="Save a report on Weights & Biases instead."
)
@click.option("--dry-run", is_flag=True, help="Only write to a file what --wandb would save.")
@click.option(
    "--margin",
    type=float,
    help="The finding also names the cheapest run whose score is at most this much worse than the "
    "best. Default: 0.02 for bpb and bpc, 0.2 for ppl.",
)
@click.option(
    "--against",
    type=click.Choice(["paper"]),
    help="Show what the papers print beside the runs that repeat a row of theirs.",
)
@click.option(
    "--accept-other-code",
    "across_code",
    is_flag=True,
    help="Rank runs together that were trained by different code.",
)
@click.option("--open", "open_it", is_flag=True, help="Open the page in the browser.")
def report(
    sweep: str | None,
    output_dir: Path,
    form: str,
    out: Path | None,
    on_wandb: bool,
    dry_run: bool,
    margin: float | None,
    against: str | None,
    across_code: bool,
    open_it: bool,
) -> None:
    """Compare the runs of SWEEP, or all runs.

    The result is a page that needs no network, a table, or figures.
    """
    from adaspan.report.comparison import compare
    from adaspan.report.finding import finding
    from adaspan.report.page import write_page
    from adaspan.report.paper import against_paper
    from adaspan.report.plots import all_plots

    if margin is not None and not 0 <= margin < math.inf:
        raise UserError(f"--margin {margin}: must be a finite number, at least 0")
    if open_it and form != "html":
        raise UserError(f"--open --format {form}: only a page can be opened; leave one of them out")
    if dry_run and not on_wandb:
        raise UserError("--dry-run: works only with --wandb; add --wandb")
    if on_wandb and (form != "html" or (out and not dry_run)):
        raise UserError("--wandb: saves a report on W&B; leave out --format and --out")
    if against and (on_wandb or form == "png"):
        raise UserError(
            f"--against {against}: is shown by --format html, text, md, csv and json alone"
        )
    title, runs = chosen_runs(output_dir, sweep)
    beside = output_dir / "sweeps" / title if sweep else output_dir
    if out:
        _check(out, is_folder=form == "png")
    typed = typed_words_of(output_dir, title) if sweep else []
    parts = compare(title, runs, typed, across_code=across_code).apart()
    if form in _FOR_PROGRAMS and not on_wandb:
        _write_for_programs(parts, margin, form, out, against=against is not None)
        return
    if out and len(parts) > 1:
        names = ", ".join(part.measure.name for part in parts)
        raise UserError(
            f"--out {out}: the runs have scores in {names}, which make a report each; leave out "
            "--out, or name a sweep"
        )
    for part in parts:
        papers = against_paper(part) if against else None
        own = part.measure.margin if margin is None else margin
        suffix = f"_{part.measure.name}" if len(parts) > 1 else ""
        if on_wandb:
            _to_wandb(part, own, beside, suffix, out, dry_run=dry_run, open_it=open_it)
        elif form == "html":
            path = out or beside / f"report{suffix}.html"
            write_page(part, path, own, papers)
            click.echo(f"{finding(part, own)}\npage    {path}")
            if open_it:
                click.launch(str(path))
        elif form == "png":
            with from_extra("figures", "--format png"):
                from adaspan.report.png import write_pictures
            for path in write_pictures(all_plots(part), out or beside / f"figures{suffix}"):
                click.echo(f"picture {path}")
        else:
            _show(part, own, papers, form, out)


def _show(
    comparison: Comparison,
    margin: float,
    papers: AgainstPaper | None,
    form: str,
    out: Path | None,
) -> None:
    """As text, on the terminal or in a file."""
    from adaspan.report import export
    from adaspan.report.terminal import to_text

    console = Console()
    on_terminal = console.is_terminal and not out
    width = console.width if on_terminal else _WIDTH
    coloured = on_terminal and not console.no_color
    texts: dict[str, Callable[[], str]] = {
        "text": lambda: to_text(comparison, margin, width, coloured=coloured, against=papers),
        "md": lambda: export.to_markdown(comparison, margin, papers),
    }
    _write(texts[form](), out)


def _write_for_programs(
    comparisons: Sequence[Comparison],
    margin: float | None,
    form: str,
    out: Path | None,
    *,
    against: bool,
) -> None:
    """One table or document, whatever measures the runs have: what programs read is never two."""
    from adaspan.report.export import Part, to_csv, to_json
    from adaspan.report.paper import against_paper

    parts = [
        Part(
            comparison,
            comparison.measure.margin if margin is None else margin,
            against_paper(comparison) if against else None,
        )
        for comparison in comparisons
    ]
    _write(to_csv(parts) if form == "csv" else to_json(parts), out)


def _write(text: str, out: Path | None) -> None:
    """Into a file, or on the terminal."""
    if out:
        with replacing(out) as file:
            file.write(text.encode())
    else:
        click.echo(text, nl=False)


def _to_wandb(
    comparison: Comparison,
    margin: float,
    beside: Path,
    suffix: str,
    out: Path | None,
    *,
    dry_run: bool,
    open_it: bool,
) -> None:
    with from_extra("reports", "--wandb"):
        from adaspan.report.wandb import lacking, save_report, write_specification

    if dry_run:
        path = out or beside / f"report_specification{suffix}.json"
        write_specification(comparison, margin, path)
        click.echo(f"report  {path}")
        return
    url = save_report(comparison, margin, beside / f"wandb_report{suffix}.json")
    click.echo(f"report  {url}")
    if missing := lacking(comparison):
        click.echo(
            f"{len(missing)} of {len(comparison.runs)} runs are not, or not all, on W&B; adaspan "
            "sync sends what was tracked offline"
        )
    if open_it:
        click.launch(url)


def _check(out: Path, *, is_folder: bool) -> None:
    """Make the folder for it; refuse what is there already and is of another kind."""
    if out.is_symlink() or (out.exists() and not out.is_dir() and not out.is_file()):
        raise UserError(f"--out {out}: is no plain file; name another")
    if is_folder and out.is_file():
        raise UserError(f"--out {out}: is a file; pictures need a folder")
    if not is_folder and out.is_dir():
        raise UserError(f"--out {out}: is a folder; name a file in it")
    try:
        (out if is_folder else out.parent).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"--out {out}: {error.filename} is a file, not a folder") from None
    except FileNotFoundError as error:  # /proc, where nothing can be made
        raise UserError(f"--out {out}: {error.filename} cannot be made") from None
