"""What was not computed alike is told, and what is of other code is never one row."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from adaspan.cli import main
from adaspan.report.caveats import caveats
from adaspan.report.comparison import Comparison, compare
from adaspan.report.export import Part, to_json, to_markdown
from adaspan.report.finding import finding
from adaspan.report.groups import Group
from adaspan.report.page import write_page
from adaspan.report.terminal import to_text
from adaspan.status.find import Runs
from tests.report.sweeps import group, sweep


def started(one: Group, *starts: Mapping[str, object]) -> Group:
    """The same, whose seeds were started so."""
    return dataclasses.replace(
        one, runs=[dataclasses.replace(run, starts=starts) for run in one.runs]
    )


ALIKE = {
    "commit": "7b0554911",
    "uncommitted changes": "none",
    "precision": "float32",
    "attention": "banded",
    "torch": "2.8.0",
    "python": "3.11.7",
    "host": "node1",
    "device": "cpu",
}


@pytest.mark.parametrize(
    ("key", "other", "told"),
    [
        ("commit", "8674f1200", "2 commits: 7b0554911 (2 runs), 8674f1200 (1 run)."),
        (
            "uncommitted changes",
            "0a1b",
            "2 sets of uncommitted changes: none (2 runs), 0a1b (1 run).",
        ),
        ("precision", "bfloat16", "2 precisions: float32 (2 runs), bfloat16 (1 run)."),
        ("torch", "2.9.1", "2 versions of torch: 2.8.0 (2 runs), 2.9.1 (1 run)."),
        ("host", "node2", "2 machines: node1 (2 runs), node2 (1 run)."),
        ("device", "NVIDIA H100", "2 devices: cpu (2 runs), NVIDIA H100 (1 run)."),
    ],
)
def test_what_differs_is_told_with_how_many_runs_have_it(key: str, other: str, told: str) -> None:
    alike, unlike = group("1", [1.0, 1.1]), group("2", [2.0])
    assert [*caveats([started(alike, ALIKE), started(unlike, ALIKE)])] == []
    assert [*caveats([started(alike, ALIKE), started(unlike, ALIKE | {key: other})])] == [told]


def test_seeds_of_one_row_that_differ_and_runs_that_were_resumed_by_others_are_told() -> None:
    one = group("1", [1.0, 1.1])
    first, second = one.runs
    mixed = dataclasses.replace(
        one,
        runs=[
            dataclasses.replace(first, starts=[ALIKE]),
            dataclasses.replace(second, starts=[ALIKE, ALIKE | {"torch": "2.9.1"}]),
        ],
    )
    assert [*caveats([mixed])] == [
        "2 versions of torch, seeds of one row among them: 2.8.0 (1 run), 2.9.1 (1 run).",
        "Resumed with another commit, version, precision or device than begun: 1-2.",
    ]


def test_what_is_not_known_is_no_difference() -> None:
    assert [*caveats([group("1", [1.0]), started(group("2", [1.0]), ALIKE)])] == []


def test_codes_are_ranked_apart_unless_asked_otherwise() -> None:
    one, other = group("1", [1.0, 1.1]), group("2", [2.0, 2.1])
    both = sweep(started(one, {"code": "aaaa"}), started(other, {"code": "bbbb"}))
    shown = finding(both, margin=0.02)
    assert shown.startswith("The runs are of 2 codes, which may differ in more than what was")
    assert "Of code aaaa: Result: model.dim=1, 1.050" in shown
    assert "Best" not in shown
    together = finding(dataclasses.replace(both, across_code=True), margin=0.02)
    assert together.startswith("Best: model.dim=1, 1.050")


@pytest.fixture
def trained_twice(runs: Runs, tmp_path: Path) -> tuple[Path, Path]:
    """Two seeds of one configuration."""
    paths = [
        path
        for path, varies in runs.items()
        if (varies["span"], varies["span.limit"]) == ("adaptive", "12") and path.exists()
    ]
    one, two = (Path(shutil.copytree(path, tmp_path / path.name)) for path in paths)
    return one, two


def edit_start(run: Path, **values: object) -> None:
    (start,) = json.loads((run / "source.json").read_text())
    (run / "source.json").write_text(json.dumps([start | values]))


def compared(*paths: Path) -> Comparison:
    return compare("edited", {path: {} for path in paths})


def test_seeds_of_other_code_or_precision_are_never_averaged(
    trained_twice: tuple[Path, Path],
) -> None:
    one, two = trained_twice
    edit_start(one, code="aaaa")
    edit_start(two, code="aaaa")
    (both,) = compared(one, two).groups
    assert len(both.done) == 2
    for change in ({"code": "bbbb"}, {"precision": "bfloat16"}):
        edit_start(two, **{"code": "aaaa", "precision": "float32"} | change)
        ((key, value),) = change.items()
        first, second = compared(one, two).groups
        assert len(first.done) == len(second.done) == 1
        shown = "train.precision" if key == "precision" else key
        assert second.label == f"{shown}={value}" or first.label == f"{shown}={value}"


def test_every_form_of_a_report_tells_caveats(
    trained_twice: tuple[Path, Path], tmp_path: Path
) -> None:
    one, two = trained_twice
    edit_start(two, commit="0123456789abcdef")
    found = compared(one, two)
    write_page(found, tmp_path / "page.html", margin=0.02)
    for text in (
        (tmp_path / "page.html").read_text(),
        to_text(found, 0.02, 80, coloured=False),
        to_markdown(found, margin=0.02),
        to_json([Part(found, 0.02)]),
    ):
        assert "2 commits, seeds of one row among them: " in text
        assert "012345678 (1 run)" in " ".join(text.split())


def test_runs_of_other_code_are_ranked_together_when_that_is_asked_for(
    runs: Runs, tmp_path: Path
) -> None:
    folder = tmp_path / "runs"
    for path, varies in runs.items():
        if varies["span.limit"] == "12" and path.exists():
            copy = Path(shutil.copytree(path, folder / path.name))
            edit_start(copy, code="aaaa" if varies["span"] == "fixed" else "bbbb")
    command = ["report", "--runs", str(folder), "--format", "json"]
    apart = json.loads(CliRunner().invoke(main, command).stdout)
    assert apart["finding"].startswith("The runs are of 2 codes")
    together = json.loads(CliRunner().invoke(main, [*command, "--accept-other-code"]).stdout)
    assert together["finding"].startswith("Leads: span=adaptive code=bbbb, ")
    assert {one["varies"]["code"] for one in together["groups"]} == {"aaaa", "bbbb"}
