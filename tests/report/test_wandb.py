"""The report on W&B: the same runs and figures as the page, saved by the real client."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adaspan.cli import main
from adaspan.files import write_json
from adaspan.report.comparison import Comparison, compare
from adaspan.report.export import to_markdown
from adaspan.report.page import write_page
from adaspan.status.find import Runs, find_sweep
from tests.tracking.conftest import server as server
from tests.tracking.server import KEY, Server

# wandb-workspaces is not written for its own pydantic.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")

SWEEP = "limits-a1b2c3"


@pytest.fixture
def output_dir(runs: Runs, tmp_path: Path) -> Path:
    """A folder with a sweep of runs, and one run that belongs to no sweep."""
    names = {}
    for path, varies in runs.items():
        name = path.name if "<" not in path.name else "odd"
        if path.exists():
            (tmp_path / "runs" / name).mkdir(parents=True)
            for file in ("config.yaml", "metrics.jsonl", "status.json"):
                shutil.copy(path / file, tmp_path / "runs" / name)
        names[name] = varies
    other = tmp_path / "runs" / "other-0123456789"
    shutil.copytree(tmp_path / "runs" / "odd", other)
    sweep = tmp_path / "runs" / "sweeps" / SWEEP
    sweep.mkdir(parents=True)
    write_json(sweep / "manifest.json", {"name": SWEEP, "runs": names})
    return tmp_path / "runs"


def report(output_dir: Path, *options: str) -> Result:
    command = ["report", "limits", "--runs", str(output_dir), "--wandb", *options]
    return CliRunner().invoke(main, command)


def specification(output_dir: Path) -> dict[str, Any]:
    answer = report(output_dir, "--dry-run")
    path = output_dir / "sweeps" / SWEEP / "report_specification.json"
    assert (answer.exit_code, answer.output) == (0, f"report  {path}\n")
    written: dict[str, Any] = json.loads(path.read_text())
    return written


def grids(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The grids of panels by the headings above them."""
    found, heading = {}, ""
    for block in spec["blocks"]:
        if block["type"] == "heading":
            heading = block["children"][0]["text"]
        if block["type"] == "panel-grid":
            found[heading] = block["metadata"]
    return found


def panels(grid: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    config = grid["panelBankSectionConfig"]
    return [(panel["viewType"], panel["config"]) for panel in config["panels"]]


@pytest.mark.slow
def test_it_says_the_same_as_the_page_in_the_same_order(
    output_dir: Path, comparison: Comparison, tmp_path: Path
) -> None:
    spec = specification(output_dir)
    (text,) = (block["content"] for block in spec["blocks"] if block["type"] == "markdown-block")
    title, runs = find_sweep(output_dir, SWEEP)
    assert text == to_markdown(compare(title, runs), margin=0.02)
    write_page(comparison, tmp_path / "page.html", margin=0.02)
    headings = re.findall("<h2>(.*?)</h2>", (tmp_path / "page.html").read_text())
    assert list(grids(spec)) == [one for one in headings if one not in ("Results", "Not done")]
    kinds = [kind for grid in grids(spec).values() for kind, _ in panels(grid)]
    assert kinds == [
        *["Scatter Plot"] * 4,
        *["Run History Line Plot"] * 2,
        *["Bar Chart"] * 2,
        "Media Browser",
        "Parallel Coordinates Plot",
        "Parameter Importance",
        "Run Comparer",
    ]


def test_it_shows_the_runs_of_the_sweep_only(
    output_dir: Path, comparison: Comparison, runs: Runs
) -> None:
    agents = output_dir / "odd" / "wandb" / "run-20260101_000000-chosen12"
    agents.mkdir(parents=True)  # of a W&B sweep, whose agent chose the id
    ids = {"chosen12" if "<" in path.name else path.name.rpartition("-")[2] for path in runs}
    done = {run.name.rpartition("-")[2] for run in comparison.runs if run.is_done}
    for heading, grid in grids(specification(output_dir)).items():
        (runset,) = grid["runSets"]
        (filter,) = runset["filters"]["filters"]
        assert (filter["key"], filter["op"]) == ({"section": "run", "name": "name"}, "IN")
        assert set(filter["value"]) == (done if heading == "How they learned" else ids)


def test_what_varies_groups_the_curves_and_has_an_axis(output_dir: Path) -> None:
    found = grids(specification(output_dir))
    varied = ["span.value.kind", "span.value.limit"]
    (runset,) = found["How they learned"]["runSets"]
    assert runset["grouping"] == [{"section": "config", "name": key} for key in varied]
    (_, axes), _ = panels(found["All that was varied"])
    assert [column["accessor"] for column in axes["columns"]] == [
        *(f"config:{key}" for key in varied),
        "summary:final_valid_bpb",
        "summary:flops_executed_per_token",
    ]


def test_saved_again_it_takes_the_place_of_the_first(server: Server, output_dir: Path) -> None:
    server.projects.append("tester/adaspan")
    first = report(output_dir)
    assert first.exit_code == 0, first.output
    url, missing = first.output.splitlines()
    assert url.startswith(f"report  {server.url}/tester/adaspan/reports/{SWEEP}--")
    assert missing.startswith("9 of 9 runs are not, or not all, on W&B")
    saved = server.report(SWEEP)
    assert [block["type"] for block in saved.spec["blocks"]].count("panel-grid") == 6
    (runset,) = grids(saved.spec)["How they learned"]["runSets"]
    assert runset["project"]["name"] == "adaspan"

    assert report(output_dir).output == first.output
    assert [one.saves for one in server.reports.values()] == [2]

    output_dir = output_dir.rename(output_dir.with_name("moved"))
    assert report(output_dir).exit_code == 0
    assert [one.saves for one in server.reports.values()] == [3]

    server.reports.clear()  # somebody has deleted it there
    assert report(output_dir).exit_code == 0
    assert [one.saves for one in server.reports.values()] == [1]


@pytest.mark.parametrize(
    "how", ["of the same title", "of the folder that this one was copied from"]
)
def test_a_report_that_is_not_this_folders_own_stays(
    server: Server, output_dir: Path, tmp_path: Path, how: str
) -> None:
    server.projects.append("tester/adaspan")
    if how == "of the same title":  # a colleague's, who named the sweep alike
        colleagues = Path(shutil.copytree(output_dir, tmp_path / "colleague"))
        assert report(colleagues).exit_code == 0
    else:
        assert report(output_dir).exit_code == 0
        output_dir = Path(shutil.copytree(output_dir, tmp_path / "copy"))
    (first,) = server.reports
    assert report(output_dir).exit_code == 0
    assert len(server.reports) == 2
    assert server.reports[first].saves == 1
    assert report(output_dir).exit_code == 0
    assert sorted(one.saves for one in server.reports.values()) == [1, 2]


def test_all_runs_of_a_folder_have_a_report_with_an_address(
    server: Server, output_dir: Path
) -> None:
    server.projects.append("tester/adaspan")
    command = ["report", "--runs", str(output_dir), "--wandb"]
    first, again = (CliRunner().invoke(main, command) for _ in range(2))
    assert first.exit_code == 0, first.output
    assert f"{server.url}/tester/adaspan/reports/" in first.output
    assert again.output == first.output
    assert len(server.reports) == 1


def error(answer: Result) -> str:
    """The only line that was printed."""
    assert answer.exit_code == 2
    (line,) = answer.output.splitlines()
    return line.removeprefix("adaspan: error: ")


def test_what_stands_in_the_way_is_one_line_that_shows_the_way_out(
    server: Server, output_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert error(report(output_dir)) == (
        "tracking.project=adaspan: tester has no such project on W&B; adaspan sync sends runs that "
        "were tracked offline"
    )
    assert not server.projects
    monkeypatch.delenv("WANDB_API_KEY")
    assert error(report(output_dir)) == "W&B: no key; `wandb login`, or WANDB_API_KEY"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert error(report(output_dir)).startswith(
        "W&B: http://127.0.0.1:9 does not answer (connection refused); "
    )


def test_runs_of_several_projects_are_refused(output_dir: Path) -> None:
    config = output_dir / "odd" / "config.yaml"
    config.write_text(config.read_text().replace("project: adaspan", "project: other"))
    assert "are in adaspan, other;" in error(report(output_dir, "--dry-run"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--wandb", "--format", "md"], "--wandb: saves a report on W&B; leave out"),
        (["--wandb", "--out", "file"], "--wandb: saves a report on W&B; leave out"),
        (["--dry-run"], "--dry-run: works only with --wandb"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[str], message: str) -> None:
    assert error(CliRunner().invoke(main, ["report", *options])).startswith(message)
