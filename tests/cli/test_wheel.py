"""A wheel is complete: built, installed apart from the checkout, and used in an empty folder."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from adaspan import __version__
from adaspan.runs.command import program_of, started
from tests.conftest import ROOT, environment, tiny_on, write_sums
from tests.sweep.test_sweep_files import announced_runs
from tests.wheel import Installed, installed_in, python_with_wheel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return python_with_wheel(tmp_path_factory)


@pytest.fixture
def installed(python: Path, tmp_path: Path) -> Installed:
    """Runs `adaspan ARGUMENTS` in an empty folder, or `python ARGUMENTS`."""
    return installed_in(tmp_path, python)


@dataclass(frozen=True)
class Trained:
    """A tiny run that the wheel has trained."""

    folder: Path  # that it was typed in
    tiny: tuple[str, ...]
    installed: Installed  # there
    end: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def trained(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    tiny, installed = tiny_on(write_sums(folder)), installed_in(folder, python)
    return Trained(folder, tiny, installed, installed("train", *tiny))


def test_it_trains_the_default_run_in_small_and_explains_it(trained: Trained) -> None:
    assert trained.end.returncode == 0, trained.end.stderr
    (line,) = (line for line in trained.end.stdout.splitlines() if line.startswith("next "))
    assert line.startswith("next    adaspan train --config-path ")

    installed = trained.installed
    again = installed("-m", "adaspan", *trained.tiny, program="python")
    assert again.stdout.startswith("done already: "), again.stderr

    explained = installed("explain", "sums")
    assert explained.returncode == 0, explained.stderr
    (line,) = (line for line in explained.stdout.splitlines() if line.startswith("command "))
    words = shlex.split(line)
    assert words[:3] == ["command", "adaspan", "train"]
    assert installed(*words[2:]).stdout.startswith("done already: ")


def test_it_has_the_shipped_sweeps(installed: Installed, tmp_path: Path) -> None:
    end = installed("train", "sweeps=figure3_tiny", "hydra.launcher.dry_run=true")
    assert end.returncode == 0, end.stderr
    assert end.stdout.count("waiting") == announced_runs(ROOT / "sweeps" / "figure3_tiny.yaml")


def test_it_trains_on_the_default_data_and_loads_what_it_trained(installed: Installed) -> None:
    small = ("model.layers=1", "model.dim=8", "model.heads=1", "span.limit=16", "span.ramp=4")
    own_places = ("data_dir=data", "tracking=disabled")
    end = installed("train", *small, *own_places, "train.steps=2")
    assert end.returncode == 0, end.stderr
    assert "data    stdlib" in end.stdout

    write = (
        "import adaspan, glob\n"
        "model, vocabulary, config = adaspan.load(*glob.glob('runs/stdlib-*'))\n"
        "print(config.train.steps, len(vocabulary), model.limit)"
    )
    loaded = installed("-c", write, program="python")
    assert loaded.returncode == 0, loaded.stderr
    steps, symbols, limit = map(int, loaded.stdout.split())
    assert (steps, limit) == (2, 16)
    assert symbols > 100


def test_a_sweep_takes_options_of_ones_own_and_is_reported(
    installed: Installed, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    options = {
        "model/narrow.yaml": "defaults: [tiny, _self_]\nlayers: 1\ndim: 8\nheads: 1\n",
        "sweeps/mine.yaml": "# @package _global_\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {train.seed: '1,2'}}}\n",
    }
    for name, content in options.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True)
        (tmp_path / "own" / name).write_text(content)
    less = [word for word in tiny if not word.startswith("model.")]
    end = installed("train", "--config-dir", "own", "sweeps=mine", "model=narrow", *less)
    assert end.returncode == 0, end.stderr
    assert "2 runs, 0 done already" in end.stdout
    page = installed("report")
    assert page.returncode == 0, page.stderr
    assert (tmp_path / "runs" / "report.html").exists()
    for path in (tmp_path / "runs").glob("*/config.yaml"):
        assert "layers: 1\n  dim: 8\n" in path.read_text()


def test_a_mistake_is_one_line_and_names_files_that_are_there(
    installed: Installed, python: Path
) -> None:
    end = installed("train", "span.limt=3")
    assert (end.returncode, end.stderr) == (
        2,
        "adaspan: error: span.limt=3: no such key; did you mean span.limit?\n",
    )
    end = installed("train", "sweeps=wandb/span_bayes")
    message, _, file = end.stderr.rstrip().rpartition(" ")
    assert (
        message == "adaspan: error: sweeps=wandb/span_bayes: is a file for W&B; type: wandb sweep"
    )
    assert Path(file).is_relative_to(python.parents[1])
    assert Path(file).exists()
    end = installed("train", "span=foo")
    page = end.stderr.rpartition("; ")[2].partition(" ")[0]
    assert Path(page).is_relative_to(python.parents[1])
    assert Path(page).exists()


def test_its_frozen_code_is_complete(trained: Trained, tmp_path: Path) -> None:
    """A job has it, whose node may have another adaspan by then, as this environment has."""
    freeze = (
        "from pathlib import Path\nfrom adaspan.places import CODE\n"
        f"from adaspan.runs.code.snapshot import take\nprint(take(CODE, Path({str(tmp_path)!r})))"
    )
    code = Path(trained.installed("-c", freeze, program="python").stdout.strip())
    assert sorted(path.name for path in code.iterdir()) == ["adaspan", "source.json"]
    assert json.loads((code / "source.json").read_text())["version"] == __version__

    (folder,) = (trained.folder / "runs").iterdir()
    again = started(folder, program_of(code))
    in_a_job = environment(PYTHONPATH=str(code), PYTHONSAFEPATH="1")
    for words, variables, shown in (
        (again, in_a_job, "done already: "),
        ([*again[:2], "--help"], environment(), str(code / "adaspan" / "share" / "conf")),
    ):
        end = subprocess.run(words, env=variables, capture_output=True, text=True, cwd=ROOT)
        assert shown in end.stdout, end.stderr
    refused = subprocess.run([*again[:2], "span=foo"], capture_output=True, text=True, cwd=ROOT)
    page = Path(refused.stderr.rpartition("; ")[2].partition(" ")[0])
    assert page.is_relative_to(code), refused.stderr
    assert page.exists()
