"""A sweep is of one code: frozen at its start, and no run of another passes for one of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adaspan.runs.folder import RunFolder
from tests.conftest import ROOT, Launch, environment
from tests.processes import of_other_code, rows, train_here

pytestmark = pytest.mark.slow

Tiny = tuple[str, ...]
CHANGED = "adaspan/nn/span/learned.py differs"


@pytest.fixture
def quick(tiny: Tiny) -> Tiny:
    """Overrides of a run that ends at once."""
    return (*tiny, "train.steps=4", "train.eval_every=2", "train.checkpoint_every=2")


def folders(tmp_path: Path) -> list[RunFolder]:
    return [RunFolder(path.parent) for path in sorted(tmp_path.glob("runs/*/source.json"))]


def test_an_edit_during_a_sweep_changes_none_of_its_runs(quick: Tiny, tmp_path: Path) -> None:
    """Runs execute a launch.py of one's own, too, with what it imports beside it."""
    code = tmp_path / "code"
    for part in ("adaspan", "conf", "sweeps", "docs/extending.md", "launch.py"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        (code / part).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / part, code / part)
    launch, helper = code / "launch.py", code / "helper.py"
    launch.write_text("import helper\n" + launch.read_text())
    helper.write_text("print('helped')\n")
    words = [sys.executable, str(launch), "-m", *quick, "train.seed=1,2"]
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("start   train.seed=1"):
                learned = code / "adaspan" / "nn" / "span" / "learned.py"
                for file in (learned, helper):
                    file.write_text(file.read_text() + "\nraise RuntimeError('edited')\n")
    assert process.returncode == 0, "the second run would fail"
    before, after = (folder.source.starts() for folder in folders(tmp_path))
    assert before[0]["code_files"] == after[0]["code_files"]
    assert before[0]["diff"] == after[0]["diff"]
    assert {"launch.py", "helper.py"} < {*before[0]["code_files"]}
    assert all("helped" in (folder.path / "output.txt").read_text() for folder in folders(tmp_path))

    learned.write_text((ROOT / "adaspan" / "nn" / "span" / "learned.py").read_text())
    other = [sys.executable, str(code / "adaspan" / "__main__.py"), *quick]
    refused = subprocess.run(other, env=environment(), capture_output=True, text=True)
    assert (refused.returncode, refused.stderr) == (
        2,
        "adaspan: error: launch.py: has been edited, and only python launch.py runs it; "
        "type that\n",
    )


def test_what_other_code_has_trained_is_refused_with_ways_out_that_work(
    quick: Tiny, launch_here: Launch, tmp_path: Path
) -> None:
    train_here(*quick)
    (folder,) = folders(tmp_path)
    sweep = ("-m", *quick, "train.seed=1")
    assert "1 runs, 1 done already" in launch_here(*sweep).stdout
    trained = rows(folder.path)
    of_other_code(folder)

    refused = launch_here(*sweep)
    assert refused.returncode == 2
    line = (
        f"1 of 1 runs was trained by other code ({CHANGED}); "
        "train.accept_other_code=true takes them as they are, train.restart=true trains all anew, "
        "another output_dir keeps both\n"
    )
    assert refused.stderr == f"adaspan: error: {line}"
    assert line in launch_here(*sweep, "hydra.launcher.dry_run=true").stdout

    accepted = launch_here(*sweep, "train.accept_other_code=true")
    assert accepted.returncode == 0, accepted.stderr
    assert "1 runs, 1 done already" in accepted.stdout
    assert len([*tmp_path.glob("runs/sweeps/*")]) == 1, "one sweep, however it is typed"
    assert "start " in launch_here(*sweep, f"output_dir={tmp_path / 'beside'}").stdout
    assert "start " in launch_here(*sweep, "train.restart=true").stdout
    assert rows(folder.path) == trained
    assert "1 runs, 1 done already" in launch_here(*sweep).stdout
