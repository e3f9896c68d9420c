"""A run folder that was moved, renamed or sent elsewhere is that run, and goes on where it is."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest

from adaspan.cli import main
from adaspan.config.resolved import read_config, read_values
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import folder_of, run_name
from tests.conftest import Launch, call, tiny_on, write_sums
from tests.processes import rows, status, train_here

pytestmark = pytest.mark.slow

STEPS = "train.steps=14"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder in which a run was stopped after 7 of 14 steps; its rows are all there."""
    origin = tmp_path_factory.mktemp("origin")
    train_here(*tiny_on(write_sums(origin)), STEPS)
    (path,) = (origin / "runs").iterdir()
    (path / "checkpoints" / "step_00000014.pt").unlink()
    RunFolder(path).set_status(State.RESUMABLE, 7)
    return path


@pytest.fixture
def there(stopped: Path, tmp_path: Path) -> Path:
    """A place to which its text, its runs and its prepared data were brought together."""
    return Path(shutil.copytree(stopped.parents[1], tmp_path / "there"))


def configuration(path: Path) -> tuple[str, ...]:
    return ("--config-path", str(path), "--config-name", "config")


def test_it_goes_on_where_it_is_and_leaves_its_former_place_alone(
    stopped: Path, tmp_path: Path, launch_here: Launch
) -> None:
    former, moved = tmp_path / "runs", tmp_path / "moved"
    path = Path(shutil.copytree(stopped, moved / stopped.name))
    config = path / "config.yaml"
    config.write_text(config.read_text().replace(str(stopped.parent), str(former)))
    end = launch_here(*configuration(path))
    assert end.returncode == 0, end.stderr
    assert f"going on from step 7\nmoved here from {former}\n" in end.stdout
    assert status(path)["state"] == "done"
    assert rows(path) == rows(stopped), "as in one piece"
    assert not former.exists()
    assert read_values(path)["output_dir"] == str(moved), "the next one need not be told"
    again = launch_here(*configuration(path))
    assert again.stdout.startswith(f"done already: {path} · ")
    assert launch_here(*configuration(path), "train.seed=7", "train.steps=2").returncode == 0
    assert len(list(moved.iterdir())) == 2, "another seed lies beside it"
    assert not former.exists()


def test_sent_to_another_machine_it_asks_for_its_text_once(
    there: Path, stopped: Path, tmp_path: Path, launch_here: Launch
) -> None:
    """Where none of the paths of its configuration are."""
    path = there / "runs" / stopped.name
    for name in ("config.yaml", "source.json"):
        file = path / name
        file.write_text(file.read_text().replace(str(stopped.parents[1]), "/home/nobody/here"))
    (there / "sums.txt").rename(there / "the same text.txt")
    shutil.rmtree(there / "data")
    variables = {"ADASPAN_DATA_DIR": str(tmp_path / "data here")}
    refused = launch_here(*configuration(path), **variables)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line == (
        "adaspan: error: data.path=/home/nobody/here/sums.txt: is not here; say where it is: "
        "data.path=FILE"
    )
    text = there / "the same text.txt"
    for _ in range(2):
        end = launch_here(*configuration(path), f"data.path='{text}'", **variables)
        assert end.returncode == 0, end.stderr
    assert end.stdout.startswith("done already: ")
    assert rows(path) == rows(stopped)
    assert launch_here(*configuration(path), **variables).stdout.startswith("done already: ")
    assert [entry.name for entry in (there / "runs").iterdir()] == [stopped.name]
    assert not Path("/home/nobody").exists()
    assert (tmp_path / "data here").exists()


@pytest.mark.parametrize("link", ["latest", "runs/latest"])
def test_a_link_to_it_is_no_move(
    link: str, there: Path, stopped: Path, launch_here: Launch
) -> None:
    path = there / "runs" / stopped.name
    config = path / "config.yaml"
    config.write_text(config.read_text().replace(str(stopped.parents[1]), str(there)))
    (there / link).symlink_to(path)
    end = launch_here(*configuration(there / link))
    assert "going on from step 7\n" in end.stdout
    assert "moved" not in end.stdout
    assert status(path)["state"] == "done"
    assert read_values(path)["output_dir"] == str(path.parent)
    (there / "runs").rename(there / "moved")
    (there / link.replace("runs", "moved")).unlink()
    (there / "linked").symlink_to(there / "moved" / stopped.name)
    again = launch_here(*configuration(there / "linked" / "checkpoints" / ".."))
    assert again.stdout.startswith(f"done already: {there / 'moved' / stopped.name} · ")


def test_another_text_makes_another_run(there: Path, stopped: Path, launch_here: Launch) -> None:
    path, text = there / "runs" / stopped.name, there / "sums.txt"
    text.write_text(text.read_text().replace("plus", "less"))
    end = launch_here(*configuration(path), f"data.path={text}", "train.restart=true")
    assert end.returncode == 0, end.stderr
    assert len(list((there / "runs").iterdir())) == 2
    assert status(path)["step"] == 7


def test_two_copies_that_were_renamed_go_on_each_in_its_place(
    there: Path, stopped: Path, launch_here: Launch
) -> None:
    names = ("best", "second best")
    for name in names:
        shutil.copytree(stopped, there / "runs" / name)
    shutil.rmtree(there / "runs" / stopped.name)
    for name in names:
        end = launch_here(*configuration(there / "runs" / name))
        assert "going on from step 7\n" in end.stdout, end.stderr
        assert rows(there / "runs" / name) == rows(stopped)
        assert status(there / "runs" / name)["state"] == "done"
    assert sorted(path.name for path in (there / "runs").iterdir()) == sorted(names)


@pytest.mark.parametrize("name", ["my best", "best"])
def test_every_command_reads_it_where_it_is(name: str, there: Path, stopped: Path) -> None:
    path = (there / "runs" / stopped.name).rename(there / name)
    shutil.rmtree(there / "runs")
    (explained, shown, evaluated) = (
        call(main, "adaspan", *words, folder=there)
        for words in (
            ("explain", str(path)),
            ("status", "--runs", "."),
            ("evaluate", str(path), "--split", "valid"),
        )
    )
    goes_on = shlex.join(["python", "launch.py", *configuration(path)])
    assert f"command  {goes_on}\n" in explained.stdout
    assert "1 resumable" in shown.stdout
    assert evaluated.returncode == 0, evaluated.stderr
    assert f"{rows(stopped)[-1]['final/valid_bpb']:.3f} bpb" in evaluated.stdout
    generated = call(main, "adaspan", "generate", str(path), "--tokens", "3", folder=there)
    assert generated.returncode == 0, generated.stderr


def test_the_command_that_explain_gives_goes_on_where_it_is(
    there: Path, stopped: Path, launch_here: Launch
) -> None:
    (there / "runs").rename(there / "moved")
    path = there / "moved" / stopped.name
    explained = call(main, "adaspan", "explain", str(path), folder=there)
    (line,) = (line for line in explained.stdout.splitlines() if line.startswith("command"))
    words = line.split("launch.py ")[1].split(" ")
    assert f"output_dir={path.parent}" in words
    assert "going on from step 7" in launch_here(*words).stdout
    assert status(path)["state"] == "done"


def test_a_sweep_from_it_has_it_and_lies_beside_it(
    there: Path, stopped: Path, launch_here: Launch
) -> None:
    (there / "runs").rename(there / "moved")
    path = there / "moved" / stopped.name
    words = ("train.seed=1,2", "hydra.launcher.dry_run=true")
    shown = launch_here("-m", *configuration(path), *words)
    assert shown.returncode == 0, shown.stderr
    assert (shown.stdout.count("resumable"), shown.stdout.count("waiting")) == (1, 1)
    assert not (there / "runs").exists()


def test_where_nothing_may_be_written_the_way_out_is_told(
    there: Path, stopped: Path, launch_here: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = there / "runs" / stopped.name

    def access(of: Path, mode: int) -> bool:  # as for everybody but root
        return Path(of) != path.parent or mode != os.W_OK

    monkeypatch.setattr(os, "access", access)
    refused = launch_here(*configuration(path))
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line == (
        f"adaspan: error: {path}: is where nothing may be written; copy the folder and go on with "
        "the copy, or output_dir=DIR trains the run anew"
    )
    copy = Path(shutil.copytree(path, there / "mine" / path.name))
    assert "going on from step 7\n" in launch_here(*configuration(copy)).stdout


def test_a_copy_whose_values_were_edited_is_not_that_run(there: Path, stopped: Path) -> None:
    edited = Path(shutil.copytree(stopped, there / "runs" / "edited"))
    file = edited / "config.yaml"
    file.write_text(file.read_text().replace("seed: 1\n", "seed: 5\n"))
    config = read_config(edited)
    assert config.train.seed == 5
    assert folder_of(config, edited) == there / "runs" / run_name(config)
    unedited = read_config(there / "runs" / stopped.name)
    assert folder_of(unedited, there / "runs" / stopped.name) == there / "runs" / stopped.name
