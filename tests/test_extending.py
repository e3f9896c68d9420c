"""What docs/extending.md shows works as it stands: trained, stopped, swept, loaded, reported."""

from __future__ import annotations

import csv
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from adaspan.cli import main
from adaspan.nn.attention.implementation import Attend, CountMacs, GroupCost, Implementation
from tests.conftest import ROOT, Launch, call, environment
from tests.extensions import EVERY_KIND, FILES, PAGE, write_files
from tests.processes import rows, start, wait_for_step


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder that commands are started in."""
    write_files(tmp_path)
    return tmp_path


def adaspan(here: Path, *words: str) -> str:
    """What `adaspan WORDS` prints, typed where no extension can be imported."""
    folder = here / "elsewhere"
    folder.mkdir(exist_ok=True)
    before = {*sys.modules}
    end = call(main, "adaspan", *words, "--runs", "../runs", folder=folder)
    assert end.returncode == 0, end.stderr
    assert not any(name.startswith("my_") for name in {*sys.modules} - before)
    return end.stdout


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".py")])
def test_a_kind_of_ones_own_is_one_short_file(name: str) -> None:
    assert len(FILES[name].splitlines()) < 50


def test_every_page_that_the_page_links_to_is_in_a_wheel_too() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = project["tool"]["setuptools"]["package-data"]["adaspan.share.docs"]
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert links
    for link in links:
        assert link in shipped
        assert (ROOT / "docs" / link).exists()


@pytest.mark.parametrize("function", [Attend, CountMacs, GroupCost])
def test_the_page_and_the_help_name_every_argument_of_an_attention(
    function: type[Attend] | type[CountMacs] | type[GroupCost],
) -> None:
    _, *arguments = inspect.signature(function.__call__).parameters
    for argument in arguments:
        assert f"`{argument}`" in PAGE
        assert f"`{argument}`" in (Implementation.__doc__ or "")


def test_every_kind_trains_goes_on_where_it_was_stopped_and_is_reported(
    here: Path, launch: Launch, run_folder: Callable[[], Path]
) -> None:
    end = launch(*EVERY_KIND)
    assert end.returncode == 0, end.stderr
    assert "\nspan    shared · " in end.stdout
    assert "attention normed" in end.stdout
    assert "files · train" in end.stdout
    undisturbed = rows(run_folder())
    evaluations = [row for row in undisturbed if "valid/bpb" in row]
    assert evaluations[-1]["span/layer_00/head_0"] == evaluations[-1]["span/layer_00/head_1"]
    for row in (undisturbed[-1], *evaluations):
        assert 0 <= row["span/at_limit"] <= 1
        assert 0 < row["valid/confidence"] <= 1
    (source,) = json.loads((run_folder() / "source.json").read_text())
    assert source["extensions"]["my_spans"]["file"] == str(here / "my_spans.py")

    shutil.rmtree(here / "runs")
    process = start(here, *EVERY_KIND)
    assert wait_for_step(here, 12, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    end = launch(*EVERY_KIND)
    assert end.returncode == 0, end.stderr
    assert "going on from step" in end.stdout
    assert rows(run_folder()) == undisturbed

    (line,) = csv.DictReader(adaspan(here, "report", "--format", "csv").splitlines())
    assert float(line["span/at_limit"]) == undisturbed[-1]["span/at_limit"]
    assert "valid/confidence" in adaspan(here, "report", "--format", "md")
    command = next(
        line for line in adaspan(here, "explain", "shared").splitlines() if "command" in line
    )
    assert "extensions=[my_spans,my_data,my_optimizers,my_attention,my_figures]" in command


def test_a_sweep_takes_extensions_from_an_experiment(here: Path, launch: Launch) -> None:
    tiny = [word for word in EVERY_KIND if word.startswith(("model", "train", "tracking", "data"))]
    words = [word for word in tiny if not word.startswith(("train.attention", "data"))]
    own = ("data=files", "data.files=[b.txt]", "extensions=[my_data]")
    end = launch("-m", "--config-dir", "mine", "experiment=shared", *words, *own, "span.limit=8,16")
    assert end.returncode == 0, end.stderr + end.stdout
    runs = sorted(path.parent for path in (here / "runs").glob("*/config.yaml"))
    assert len(runs) == 2
    for run, limit in zip(runs, (16, 8), strict=True):
        assert rows(run)[-1]["span/max"] <= limit
        assert "valid/confidence" not in rows(run)[-1], "the words replace the file's list"


def test_an_option_of_ones_own_has_other_defaults(launch: Launch, here: Path) -> None:
    end = launch(
        "--config-dir", "mine", "--cfg", "job", "extensions=[my_spans]", "span=shared_short"
    )
    assert end.returncode == 0, end.stderr
    assert "limit: 64" in end.stdout
    assert "kind: shared" in end.stdout


def test_a_package_is_found_by_its_entry_point_and_loads_what_it_trained(
    here: Path, launch: Launch, run_folder: Callable[[], Path]
) -> None:
    project, site = here / "project", here / "site"
    project.mkdir()
    for name in ("my_spans.py", "pyproject.toml"):
        (here / name).rename(project / name)
    installer = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    offline = ["--no-build-isolation", "--no-index", "--target", str(site), str(project)]
    subprocess.run([*installer, *offline], check=True)
    shutil.rmtree(project)

    tiny = [word for word in EVERY_KIND if word.startswith(("model", "train", "tracking"))]
    words = ["span=shared", *(word for word in tiny if not word.startswith("train.attention"))]
    words += ["data=text", "data.path=a.txt"]
    refused = launch(*words)
    assert refused.returncode == 2
    assert refused.stderr.startswith("adaspan: error: span=shared: no such option; one of adaptive")
    installed = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    end = launch(*words, PYTHONPATH=installed)
    assert end.returncode == 0, end.stderr
    (source, *_) = json.loads((run_folder() / "source.json").read_text())
    assert source["extensions"]["my_spans"]["version"] == "1.0"

    gone = launch("--config-path", str(run_folder()), "--config-name", "config")
    assert gone.returncode == 2
    (line,) = gone.stderr.splitlines()
    assert line.startswith("adaspan: error: extensions=[my_spans]: there is no module my_spans")

    loads = "import adaspan, sys; model, _, run = adaspan.load(sys.argv[1]); print(model.spans[0])"
    loaded = subprocess.run(
        [sys.executable, "-c", loads, str(run_folder())],
        env=environment(PYTHONPATH=installed),
        capture_output=True,
        text=True,
    )
    assert loaded.returncode == 0, loaded.stderr
    assert "SharedSpan" in loaded.stdout
