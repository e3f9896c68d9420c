"""Runs whose scores are of different measures are never ranked among each other."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adaspan.cli import main
from adaspan.report.comparison import compare
from adaspan.runs.measures import BPB, PPL

DONE = "sums-1x8-adaptive16-a4b04d2d9d"


def of_words(bytes_run: Path) -> Path:
    """What the same run would have left if its tokens were words."""
    words_run = Path(shutil.copytree(bytes_run, bytes_run.with_name("words-0123456789")))
    rows = (bytes_run / "metrics.jsonl").read_text()
    rows = rows.replace('val/bpc"', 'valid/ppl"').replace('val_bpc"', 'valid_ppl"')
    (words_run / "metrics.jsonl").write_text(rows.replace('bpc"', 'ppl"'))
    config = (bytes_run / "config.yaml").read_text()
    (words_run / "config.yaml").write_text(config.replace("symbols: bytes", "symbols: words"))
    return words_run


def report(runs: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", "--runs", str(runs), *arguments])


def test_each_measure_has_a_comparison_of_its_own(runs_of_before: Path) -> None:
    of_bytes = runs_of_before / DONE
    both = compare("both", {of_bytes: {}, of_words(of_bytes): {}})
    bpb, ppl = both.apart()
    assert [part.measure for part in (bpb, ppl)] == [BPB, PPL]
    assert [[run.name for run in part.runs] for part in (bpb, ppl)] == [
        [DONE],
        ["words-0123456789"],
    ]
    assert bpb.apart() == [bpb]


@pytest.mark.slow
def test_a_report_shows_them_apart(runs_of_before: Path) -> None:
    of_words(runs_of_before / DONE)
    shown = report(runs_of_before, "--format", "text")
    assert shown.exit_code == 0, shown.output
    _, bpb, ppl = shown.stdout.replace("\n", " ").split("Result: ")
    assert "4.594 bpb on valid" in bpb
    assert "1 other run has a score in ppl (perplexity): not comparable with these" in bpb
    assert "4.59 ppl on valid" in ppl
    pages = report(runs_of_before)
    assert pages.exit_code == 0, pages.output
    assert [page.name for page in sorted(runs_of_before.glob("report*.html"))] == [
        "report_bpb.html",
        "report_ppl.html",
    ]
    page = (runs_of_before / "report_ppl.html").read_text()
    assert "Scores (ppl: perplexity) are on all of valid" in page


def test_one_file_holds_one_measure(runs_of_before: Path, tmp_path: Path) -> None:
    of_words(runs_of_before / DONE)
    refused = report(runs_of_before, "--out", str(tmp_path / "page.html"))
    assert refused.exit_code == 2
    assert refused.stderr == (
        f"adaspan: error: --out {tmp_path / 'page.html'}: the runs have scores in bpb, ppl, which "
        "make a report each; leave out --out, or name a sweep\n"
    )


def test_what_a_program_reads_is_one_table_or_document(
    runs_of_before: Path, tmp_path: Path
) -> None:
    of_words(runs_of_before / DONE)
    bpb, ppl = json.loads(report(runs_of_before, "--format", "json").stdout)
    assert [set(part) for part in (bpb, ppl)] == [{"title", "finding", "notes", "groups"}] * 2
    assert " ppl on valid" in ppl["finding"]
    written = report(runs_of_before, "--format", "csv", "--out", str(tmp_path / "runs.csv"))
    assert written.exit_code == 0, written.output
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert [bool(row["final/valid_ppl"]) for row in rows] == [False] * (len(rows) - 1) + [True]
    assert rows[0]["final/valid_bpb"]
    assert None not in rows[0]


def test_status_has_a_column_a_measure(runs_of_before: Path) -> None:
    of_words(runs_of_before / DONE)
    table = CliRunner().invoke(main, ["status", "--runs", str(runs_of_before)]).stdout
    assert any("bpb bpb ppl ppl" in " ".join(line.split()) for line in table.splitlines()[:4])
    told = CliRunner().invoke(main, ["status", "--runs", str(runs_of_before), "--json"]).stdout
    assert {state["run"]: state["measure"] for state in json.loads(told)}["words-0123456789"] == (
        "ppl"
    )
