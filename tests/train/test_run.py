"""Whole runs, started as a user starts them: new, done already, repeated, refused."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adaspan.config.kinds.registry import KINDS
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from tests.conftest import ROOT, Launch, environment
from tests.processes import (
    FindFolder,
    kill,
    of_other_code,
    rows,
    start,
    train_here,
    wait_for_step,
)


@pytest.mark.slow
def test_what_asked_for_a_fresh_start_is_not_repeated(
    tiny: tuple[str, ...], run_folder: FindFolder
) -> None:
    train_here(*tiny, "train.restart=true")
    assert "restart: false" in (run_folder() / "config.yaml").read_text()


@pytest.mark.slow
def test_a_finished_run_says_so_and_restart_starts_over(
    tiny: tuple[str, ...], run_folder: FindFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(*tiny)
    before = rows(run_folder())
    capsys.readouterr()
    train_here(*tiny)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("done already: ")
    assert "train.restart=true" in line
    assert "float32" not in line
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS["figure"], "span/own", lambda evaluation: 1.0)
        train_here(*tiny)
    assert " · no span/own · train.restart=true starts over" in capsys.readouterr().out
    source = run_folder() / "source.json"
    (start,) = json.loads(source.read_text())
    source.write_text(json.dumps([{**start, "precision": "bfloat16"}]))
    train_here(*tiny)
    line = capsys.readouterr().out
    assert " · trained in bfloat16, here train.precision=auto is float32 · train.restart" in line
    train_here(*tiny, "train.restart=true")
    assert "going on" not in capsys.readouterr().out
    assert rows(run_folder()) == before


@pytest.mark.slow
def test_a_run_that_other_code_has_trained_is_refused_unless_that_is_accepted(
    tiny: tuple[str, ...], launch_here: Launch, run_folder: FindFolder
) -> None:
    train_here(*tiny, "train.steps=14")
    folder = RunFolder(run_folder())
    of_other_code(folder)
    ways = "another output_dir keeps both\n"
    changed = "by other code (adaspan/nn/span/learned.py differs)"
    done = launch_here(*tiny, "train.steps=14")
    assert done.returncode == 2
    assert done.stderr == (
        f"adaspan: error: {folder.path}: was trained {changed}; train.accept_other_code=true takes "
        f"it as it is, train.restart=true trains it anew, {ways}"
    )
    accept = "train.accept_other_code=true"
    taken = launch_here(*tiny, "train.steps=14", accept).stdout
    assert taken.startswith("done already: ")
    assert f" · trained {changed} · " in taken
    longer = launch_here(*tiny, "train.steps=21")
    assert f"it was trained {changed}; {accept} takes it\n" in longer.stdout

    folder.set_status(State.RESUMABLE, 7)
    (folder.checkpoints / "step_00000014.pt").unlink()
    begun = launch_here(*tiny, "train.steps=14")
    assert begun.returncode == 2
    assert begun.stderr == (
        f"adaspan: error: {folder.path}: was begun {changed}; {accept} goes on with this code, "
        f"train.restart=true starts over, {ways}"
    )
    assert folder.status()["step"] == 7, "nothing of it has changed"
    gone_on = launch_here(*tiny, "train.steps=14", accept)
    assert gone_on.returncode == 0, gone_on.stderr
    assert "by other code than before: adaspan/nn/span/learned.py differs" in (
        folder.log.read_text()
    )
    assert "accept_other_code: false" in (folder.path / "config.yaml").read_text(), "for one start"
    assert len({start["code"] for start in folder.source.starts()}) == 2
    assert launch_here(*tiny, "train.steps=14").returncode == 2, "in part by other code"


@pytest.mark.slow
def test_a_start_that_saved_nothing_and_a_version_that_told_no_code_hold_up_nobody(
    tiny: tuple[str, ...], run_folder: FindFolder
) -> None:
    train_here(*tiny, "train.steps=7")
    folder = RunFolder(run_folder())
    of_other_code(folder)
    folder.set_status(State.RUNNING, 0)
    (folder.checkpoints / "step_00000007.pt").unlink()
    train_here(*tiny, "train.steps=7")
    assert folder.state == State.DONE
    (path,) = folder.path.glob("source.json")
    (start,) = (start for start in folder.source.starts() if start["code"] != "of-before")
    path.write_text(json.dumps([{key: start[key] for key in start if "code" not in key}]))
    train_here(*tiny, "train.steps=7")


@pytest.mark.slow
def test_the_run_folder_repeats_the_run(
    tiny: tuple[str, ...], launch_here: Launch, tmp_path: Path, run_folder: FindFolder
) -> None:
    train_here(*tiny)
    folder = run_folder()
    frozen = ("--config-path", str(folder), "--config-name", "config")
    assert launch_here(*frozen).stdout.startswith("done already: ")
    again = launch_here(*frozen, f"output_dir={tmp_path / 'again'}")
    assert again.returncode == 0, again.stderr
    (repeated,) = (tmp_path / "again").iterdir()
    assert repeated.name == folder.name
    assert rows(repeated) == rows(folder)


@pytest.mark.slow
def test_a_text_that_changed_since_makes_another_run_and_is_not_gone_on_with(
    tiny: tuple[str, ...], text: Path, run_folder: FindFolder, launch_here: Launch
) -> None:
    train_here(*tiny)
    folder, status = run_folder(), text.stat()
    text.write_bytes(text.read_bytes().replace(b"plus", b"less"))
    os.utime(text, ns=(status.st_atime_ns, status.st_mtime_ns))  # as tar and rsync do
    frozen = ("--config-path", str(folder), "--config-name", "config")
    refused = launch_here(*frozen)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "data.path=sums.txt: has changed since the run was begun (sha256 " in line
    assert line.endswith("; say data.path=sums.txt once more to train on what it is now")
    assert launch_here(*frozen, "data.path=sums.txt").returncode == 0
    sources = [json.loads(path.read_text()) for path in (folder.parent).glob("*/source.json")]
    now = hashlib.sha256(text.read_bytes()).hexdigest()
    assert [source[0]["data_sha256"] == now for source in sources].count(True) == 1
    assert len(sources) == 2


@pytest.mark.slow
def test_one_text_is_one_run_wherever_it_is_and_however_it_is_packed(
    tiny: tuple[str, ...], text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(*tiny)
    capsys.readouterr()
    (tmp_path / "elsewhere").mkdir()
    packed = tmp_path / "elsewhere" / "sums.txt.gz"
    packed.write_bytes(gzip.compress(text.read_bytes()))
    marked = tmp_path / "elsewhere" / "sums.txt"
    marked.write_bytes(b"\xef\xbb\xbf" + text.read_bytes())
    for path in (packed, marked):
        train_here(*tiny, f"data.path={path}")
        assert capsys.readouterr().out.startswith("done already: ")


@pytest.mark.slow
def test_a_run_says_and_records_what_its_text_turned_out_to_be(
    tiny: tuple[str, ...], text: Path, run_folder: FindFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    text.write_bytes(text.read_text().replace("\n", "é\r\n").encode("latin-1"))
    train_here(*tiny, "data.encoding=latin-1", "data.symbols=characters", "train.steps=2")
    told = capsys.readouterr().out
    assert "\nformat  latin-1, converted to UTF-8 · newlines CRLF\n" in told
    (start,) = json.loads((run_folder() / "source.json").read_text())
    assert start["data"] == {
        "format": "plain",
        "encoding": "latin-1, converted to UTF-8",
        "newlines": "CRLF",
        "characters": len(text.read_bytes()),
        "replaced": 0,
        "undecodable": 0,
        "unit": "characters",
        "symbols": 19,
    }


@pytest.mark.slow
def test_the_same_run_cannot_be_trained_twice_at_once(
    tiny: tuple[str, ...], launch_here: Launch, tmp_path: Path, run_folder: FindFolder
) -> None:
    process = start(tmp_path, *tiny, "train.steps=2000")
    wait_for_step(tmp_path, 6, process)
    second = launch_here(*tiny, "train.steps=2000")
    kill(process)
    assert second.returncode == 2
    assert "another process is training this run" in second.stderr


def imported(*arguments: str) -> set[str]:
    """What `python launch.py ARGUMENTS` imports."""
    program = f"""
import runpy, sys
sys.argv[1:] = {list(arguments)}
try:
    runpy.run_path({str(ROOT / "launch.py")!r}, run_name="__main__")
finally:
    print("imported", *sys.modules)
"""
    end = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True
    )
    assert end.returncode == 0, end.stderr
    return set(end.stdout.rpartition("imported ")[2].split())


@pytest.mark.slow
def test_a_run_starts_without_importing_what_it_does_not_use(tiny: tuple[str, ...]) -> None:
    """Torch's compiler alone would be a third of the time until the first step."""
    unused = {"torch._dynamo", "torch.distributed.tensor", "wandb", "optuna", "submitit"}
    assert not unused & imported(*tiny, "train.steps=20")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_a_sweep_is_looked_at_without_waiting_for_torch(
    tiny: tuple[str, ...], launcher: str
) -> None:
    """More than half of the time until a preview of a few runs, or a typo in them, is seen."""
    sweep = ("-m", "train.seed=1,2", f"hydra/launcher={launcher}", "hydra.launcher.dry_run=true")
    assert "torch" not in imported(*sweep, *tiny)
