"""Run folders of the version before are read, explained, compared and gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from adaspan.cli import main
from adaspan.config.resolved import read_config
from adaspan.errors import UserError
from adaspan.report.comparison import compare
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import run_name
from adaspan.status.state import read_states
from adaspan.train.load import load
from adaspan.train.run import train
from tests.conftest import Launch

DONE = "sums-1x8-adaptive16-a4b04d2d9d"
RESUMABLE = "sums-1x8-adaptive16-41c314fa45"


@pytest.mark.parametrize("name", [DONE, RESUMABLE])
def test_a_run_keeps_its_identity(runs_of_before: Path, name: str) -> None:
    assert run_name(read_config(runs_of_before / name)) == name


def test_status_shows_them(runs_of_before: Path) -> None:
    shown = CliRunner().invoke(main, ["status", "--runs", str(runs_of_before), "--json"])
    resumable, done = json.loads(shown.stdout)
    assert (done["run"], done["state"], done["step"], done["steps"]) == (DONE, "done", 20, 20)
    assert (done["measure"], done["valid"], done["test"]) == (
        "bpb",
        4.59388655147555,
        4.445203784244511,
    )
    assert (resumable["run"], resumable["state"]) == (RESUMABLE, "resumable")
    assert (resumable["step"], resumable["steps"]) == (149, 400)
    assert resumable["valid"] == 3.821963911422021, "of the last quick evaluation"


def test_explain_gives_the_command_of_before(runs_of_before: Path) -> None:
    explained = CliRunner().invoke(main, ["explain", RESUMABLE, "--runs", str(runs_of_before)])
    assert explained.exit_code == 0, explained.output
    assert "state    resumable · step 149/400" in explained.output
    (command,) = (line for line in explained.output.splitlines() if line.startswith("command"))
    assert " data.path=/home/researcher/sums.txt train.steps=400 " in command


def test_report_compares_them(runs_of_before: Path) -> None:
    done, resumable = compare("b", {runs_of_before / name: {} for name in (DONE, RESUMABLE)}).runs
    assert (done.is_done, resumable.is_done) == (True, False)
    assert [row["valid/bpb"] for row in done.evaluations][-1] == 4.570953639021609
    report = CliRunner().invoke(main, ["report", "--runs", str(runs_of_before)])
    assert report.exit_code == 0, report.output
    assert "1 of 2 runs are not done" in report.output


@pytest.mark.slow
def test_one_that_was_begun_goes_on(runs_of_before: Path, text: Path) -> None:
    config = read_config(runs_of_before / RESUMABLE)
    config.data.path = str(text)  # type: ignore[attr-defined]
    config.output_dir, config.data_dir = str(runs_of_before), str(text.parent / "data")
    config.tracking.mode = "disabled"
    # Its identity held the path of the text, which is another here than there.
    folder = RunFolder((runs_of_before / RESUMABLE).rename(runs_of_before / run_name(config)))
    train(config)
    assert "going on from step 149" in folder.log.read_text()
    assert folder.status()["state"] == State.DONE
    assert [row["step"] for row in folder.rows()] == [100, 200, 300, 400, 400]
    assert [state.state for state in read_states({folder.path: {}})] == [State.DONE]


@pytest.mark.slow
def test_one_that_was_sent_here_goes_on_under_its_name(
    runs_of_before: Path, text: Path, launch_here: Launch
) -> None:
    """Its identity held the path of the text, which is another here than there."""
    folder = RunFolder(runs_of_before / RESUMABLE)
    configuration = ("--config-path", str(folder.path), "--config-name", "config")
    words = (f"data.path={text}", "tracking.mode=disabled")
    end = launch_here(*configuration, *words)
    assert end.returncode == 0, end.stderr
    assert "going on from step 149\nmoved here from /home/researcher/runs\n" in end.stdout
    assert folder.status()["state"] == State.DONE
    assert folder.source.own("id") == RESUMABLE.rpartition("-")[2]
    assert launch_here(*configuration, *words).stdout.startswith("done already: ")
    assert sorted(path.name for path in runs_of_before.iterdir()) == [RESUMABLE, DONE]


def test_weights_that_lack_their_vocabulary_are_refused_in_one_line(runs_of_before: Path) -> None:
    with pytest.raises(UserError) as refused:
        load(runs_of_before / RESUMABLE)
    assert "vocabulary" in str(refused.value)
    assert "\n" not in str(refused.value)
