"""Every file in sweeps/ opens with its question and composes into the runs that it announces."""

import json
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.conftest import ROOT, TINY, Launch

FILES = sorted((ROOT / "sweeps").glob("*.yaml"))
SEARCHES = [file for file in FILES if "hydra/sweeper" in file.read_text()]
GRIDS = [file for file in FILES if file not in SEARCHES]


def announced_runs(file: Path) -> int:
    """The number in the file's opening comment, which has all that it should have."""
    text = file.read_text()
    announced = re.search(r"^# Runs +(\d+)", text, re.MULTILINE)
    assert announced, "says how many runs it has"
    assert "?" in text.partition("# Runs")[0], "opens with a question"
    assert re.search(r"^# Cost ", text, re.MULTILINE)
    assert re.search(rf"^# Command +python launch.py sweeps={file.stem}\b", text, re.MULTILINE)
    return int(announced[1])


@pytest.mark.slow
@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.stem)
def test_a_sweep_file_composes_into_the_runs_it_announces(
    file: Path, launch_here: Launch, tmp_path: Path
) -> None:
    end = launch_here(f"sweeps={file.stem}", "hydra.launcher.dry_run=true")
    assert end.returncode == 0, end.stderr
    assert end.stdout.count("waiting") == announced_runs(file)
    assert not list(tmp_path.iterdir()), "nothing was written"


@pytest.mark.slow
def test_a_sweep_file_may_lie_in_a_folder(launch_here: Launch, tmp_path: Path) -> None:
    own = tmp_path / "conf" / "sweeps" / "mine" / "seeds.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(GRIDS[-1].with_name("seeds.yaml").read_text())
    dry = ("sweeps=mine/seeds", "hydra.launcher.dry_run=true")
    end = launch_here("--config-dir", str(tmp_path / "conf"), *dry)
    assert end.returncode == 0, end.stderr
    assert "mine-seeds-" in end.stdout, "the name of one folder"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hydra: {sweeper: {parms: {train.seed: '1,2'}}}", "hydra.sweeper.parms: no such key; did"),
        ("span: {limt: 3}", "span.limt: no such key; did you mean span.limit?"),
        ("span: {limit: long}", "span.limit: must be a whole number"),
        ("span: {limit: null}", "span.limit: needs a value"),
        ("span: fixed", "span: fixed: must hold keys; an option is chosen by defaults: [override"),
    ],
)
def test_a_mistake_in_a_sweep_file_is_one_line_that_names_it(
    launch_here: Launch, tmp_path: Path, content: str, message: str
) -> None:
    own = tmp_path / "conf" / "sweeps" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(f"# @package _global_\n{content}\n")
    end = launch_here("--config-dir", str(tmp_path / "conf"), "sweeps=mine")
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line.startswith(f"adaspan: error: sweeps/mine.yaml: {message}")


def test_broken_yaml_is_one_line_that_names_file_and_line(
    launch_here: Launch, tmp_path: Path
) -> None:
    own = tmp_path / "conf" / "sweeps" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("# @package _global_\nspan: [\n")
    end = launch_here("--config-dir", str(tmp_path / "conf"), "sweeps=mine")
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line.startswith(f"adaspan: error: {own}, line 3: ")


@pytest.mark.parametrize("file", SEARCHES, ids=lambda file: file.stem)
def test_a_search_announces_its_runs_and_finds_something(
    file: Path, launch: Launch, launch_here: Launch, tmp_path: Path, text: Path
) -> None:
    composed = OmegaConf.create(launch_here(f"sweeps={file.stem}", "--cfg", "hydra").stdout)
    assert composed.hydra.sweeper.n_trials == announced_runs(file)
    quick = (
        *TINY,
        "data=text",
        f"data.path={text}",
        f"data_dir={tmp_path}",
        "train.steps=10",
        "span.limit=choice(8,16)",
        "span.ramp=choice(2,4)",
        "hydra.sweeper.n_trials=2",
    )
    end = launch(f"sweeps={file.stem}", *quick)
    assert end.returncode == 0, end.stderr
    (found,) = (tmp_path / "runs" / "sweeps").glob("search-*/optimization_results.yaml")
    assert OmegaConf.load(found).solutions
    (manifest,) = (tmp_path / "runs" / "sweeps").glob("*/manifest.json")
    params = composed.hydra.sweeper.params
    searched = {key for key, values in params.items() if "(" in values}
    for varies in json.loads(manifest.read_text())["runs"].values():
        assert varies.keys() == searched
    assert len([*(tmp_path / "runs" / "code").iterdir()]) == 1, "one code, for all trials"
