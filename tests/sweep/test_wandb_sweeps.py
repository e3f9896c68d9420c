"""Every sweep of W&B opens with its question, and its agent starts runs that belong to it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from wandb.wandb_agent import Agent

from tests.conftest import ROOT, TINY
from tests.processes import FindFolder, rows
from tests.tracking.conftest import server as server
from tests.tracking.server import ENTITY, Server

FILES = sorted((ROOT / "sweeps" / "wandb").glob("*.yaml"))

# By W&B's own reader, which leaves that to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


def definition(file: Path) -> dict[str, Any]:
    """What W&B makes of the file."""
    from wandb.sdk.launch.sweeps.utils import load_sweep_config  # a second, which few tests need

    read = load_sweep_config(str(file))
    assert read is not None
    return read


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_opens_with_its_question_and_announces_its_runs(file: Path) -> None:
    text = file.read_text()
    assert "?" in text.partition("# Runs")[0]
    announced = re.search(r"^# Runs +(\d+)", text, re.MULTILINE)
    assert announced
    assert int(announced[1]) == definition(file)["run_cap"]
    assert re.search(r"^# Cost ", text, re.MULTILINE)
    assert f"# Command   wandb sweep {file.relative_to(ROOT)}," in text


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_agent_starts_a_run_of_the_sweep_with_the_metric_that_it_wants(
    file: Path,
    server: Server,
    text: Path,
    tmp_path: Path,
    run_folder: FindFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweep = definition(file)
    values = {key: sampled(parameter) for key, parameter in sweep["parameters"].items()}
    chosen = {*values, "tracking"}
    tiny = [override for override in TINY if override.partition("=")[0] not in chosen]
    tiny += ["train.steps=10", "data=text", f"data.path={text}", f"data_dir={tmp_path}"]
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for name, value in (
        ("WANDB_ENTITY", ENTITY),
        ("WANDB_PROJECT", sweep["project"]),
        ("WANDB_SWEEP_ID", "s1"),
        ("WANDB_DIR", str(tmp_path)),
    ):
        monkeypatch.setenv(name, value)
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(name, "")  # the agent sets them here, too: to be taken back
        monkeypatch.delenv(name)
    agent = Agent(api=None, queue=Queue(), sweep_id="s1")
    agent._sweep_command = [*sweep["command"], *tiny, f"output_dir={tmp_path / 'runs'}"]
    agent._command_run(
        {
            "run_id": "chosen12",
            "program": sweep["program"],
            "args": {key: {"value": value} for key, value in values.items()},
        }
    )
    assert agent._run_processes["chosen12"].wait() == 0

    (run,) = server.runs.values()
    assert (run.id, run.sweep, run.project) == ("chosen12", "s1", sweep["project"])
    assert run.name == run_folder().name
    assert run.finished
    assert run.summary[sweep["metric"]["name"]] == rows(run_folder())[-1]["final/valid_bpb"]
    for key, value in values.items():
        assert run.config[key] == value, "as W&B shows its proposals"
        if "." in key:
            group, _, name = key.partition(".")
            assert run.config[group][name] == value, "as launch.py took them"


def sampled(parameter: dict[str, Any]) -> Any:
    """A value that W&B might propose."""
    if "value" in parameter:
        return parameter["value"]
    if "values" in parameter:
        return parameter["values"][0]
    assert isinstance(parameter["min"], float)
    assert isinstance(parameter["max"], float)
    return (parameter["min"] * parameter["max"]) ** 0.5
