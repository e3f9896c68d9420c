"""`adaspan report` as somebody types it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adaspan.cli import main
from adaspan.files import write_json
from adaspan.report.comparison import Comparison
from adaspan.report.finding import finding
from adaspan.status.find import Runs

Report = Callable[..., Result]


@pytest.fixture
def report(runs: Runs) -> Report:
    """Runs `adaspan report a_sweep ARGUMENTS`."""
    folder = next(iter(runs)).parent
    manifest = folder / "sweeps" / "a_sweep-0123" / "manifest.json"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        manifest, {"name": "a_sweep", "runs": {r.name: varies for r, varies in runs.items()}}
    )

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["report", "a_sweep", "--runs", str(folder), *arguments])

    return run


@pytest.mark.slow
def test_the_page_lies_beside_the_sweep_unless_told_otherwise(
    report: Report, runs: Runs, comparison: Comparison, tmp_path: Path
) -> None:
    beside = next(iter(runs)).parent / "sweeps" / "a_sweep-0123" / "report.html"
    elsewhere = tmp_path / "new" / "page.html"
    for arguments, page in (((), beside), (("--out", str(elsewhere)), elsewhere)):
        end = report(*arguments)
        assert end.exit_code == 0, end.output
        assert end.stdout.startswith(finding(comparison, 0.02))
        assert end.stdout.splitlines()[-1] == f"page    {page}"
        assert page.read_text().startswith("<!doctype html>")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["html", "text", "md", "json"])
def test_runs_that_no_paper_has_are_said_to_be_none(
    report: Report, form: str, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    assert report("--against", "paper", "--format", form, "--out", str(out)).exit_code == 0
    text = " ".join(out.read_text().split())
    assert (
        "Nothing in the papers has the data, model and span of: span=fixed span.limit=12;" in text
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["text", "md", "csv", "json"])
def test_a_table_is_the_same_in_the_terminal_and_in_a_file(
    report: Report, form: str, tmp_path: Path
) -> None:
    shown = report("--format", form)
    assert shown.exit_code == 0, shown.output
    written = tmp_path / "table"
    assert report("--format", form, "--out", str(written)).exit_code == 0
    assert shown.stdout == written.read_text()
    assert "\x1b" not in shown.stdout


def test_the_margin_decides_what_is_nearly_as_good(report: Report, comparison: Comparison) -> None:
    for margin in ("0", "100"):
        content = json.loads(report("--format", "json", "--margin", margin).stdout)
        assert content["finding"] == finding(comparison, float(margin))


def test_a_mistake_is_one_line_that_shows_the_way_out(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for arguments, message in (
        (("--against", "paper", "--format", "png"), "--against paper: is shown by --format html"),
        (("--against", "paper", "--wandb"), "--against paper: is shown by --format html"),
        (("--format", "csv", "--open"), "--open --format csv: only a page can be opened"),
        (("--out", str(tmp_path)), f"--out {tmp_path}: is a folder; name a file in it"),
        (("--format", "png", "--out", str(file)), f"--out {file}: is a file; pictures need"),
        (("--out", str(file / "page.html")), f"--out {file / 'page.html'}: {file} is a file"),
    ):
        end = report(*arguments)
        assert end.exit_code == 2
        assert end.stderr.startswith(f"adaspan: error: {message}")
        assert len(end.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "module", "package", "extra"),
    [
        (("--format", "png"), "png", "kaleido", "figures"),
        (("--wandb",), "wandb", "wandb_workspaces", "reports"),
    ],
)
def test_what_an_extra_installs_is_asked_for_by_its_name(
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    module: str,
    package: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it was not installed
    for name in (f"{package}.expr", f"adaspan.report.{module}"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    end = report(*arguments)
    assert end.exit_code == 2
    wanted = " ".join(arguments)
    assert end.stderr == (
        f"adaspan: error: {wanted}: needs {package}; pip install 'adaspan[{extra}]'\n"
    )
    assert report("--format", "md").exit_code == 0, "the rest needs none"
