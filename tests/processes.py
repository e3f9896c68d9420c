"""Start whole runs, watch them, kill them, and read what they left."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from adaspan.config.resolved import to_yaml
from adaspan.data.vocabulary import Vocabulary
from adaspan.runs.folder import RunFolder
from adaspan.train.build import make_model
from adaspan.train.run import train
from adaspan.train.weights import Weights, export_weights
from tests.conftest import command, compose_run, environment

FindFolder = Callable[[], Path]


def rows(folder: Path) -> list[dict[str, Any]]:
    """The metrics, less what measures time and memory."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if not key.startswith("perf/")}
        for line in lines
    ]


def final_state(folder: Path) -> dict[str, Any]:
    newest = max((folder / "checkpoints").glob("step_*.pt"))
    state: dict[str, Any] = torch.load(newest, weights_only=True)
    return state


def status(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "status.json").read_text())
    return content


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal to the bit, through lists, dictionaries and tensors."""
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, list):
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    else:
        assert ours == theirs


def train_here(*overrides: str) -> None:
    """Train in this process, which is quicker, where no signal and no exit code matter."""
    train(compose_run(*overrides, "tracking=disabled"))


def untrained(folder: Path, vocabulary: Vocabulary, *overrides: str) -> Path:
    """An export as `load` and the commands read it, whose model has learned nothing."""
    config = compose_run(*overrides)
    model = make_model(config.model, config.span, len(vocabulary))
    exported = RunFolder(folder)
    exported.write_config(to_yaml(config))
    vocabulary.write(exported.vocabulary)
    export_weights(folder, Weights(model.state_dict(), 0, None))
    return folder


def of_other_code(folder: RunFolder) -> None:
    """Have a run say that it was trained before an edit of nn/span/learned.py."""
    path = folder.path / "source.json"
    starts = json.loads(path.read_text())
    for start in starts:
        start["code"] = "of-before"
        if files := start.get("code_files"):
            files["adaspan/nn/span/learned.py"] = "of-before"
    path.write_text(json.dumps(starts))


def start(tmp_path: Path, *overrides: str, program: str = "") -> subprocess.Popen[bytes]:
    """Start a run that is not waited for; what it prints goes to `output`.

    Args:
        tmp_path: the test's folder.
        overrides: of the run.
        program: Python that starts launch.py, whose path is its first argument.
    """
    python, *launch = command(*overrides)
    words = [python, "-c", program, *launch] if program else [python, *launch]
    with (tmp_path / "output").open("w") as output:
        return subprocess.Popen(
            words, cwd=tmp_path, env=environment(), stdout=output, stderr=output
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def wait_until(
    happened: Callable[[], bool], process: subprocess.Popen[bytes], seconds_between: float = 0.01
) -> bool:
    """Look again and again; False if the process ended first."""
    while process.poll() is None:
        if happened():
            return True
        time.sleep(seconds_between)
    return False


def step_so_far(tmp_path: Path) -> int:
    """The last step in the metrics of the only run; -1 before the first."""
    lines = [
        line
        for path in (tmp_path / "runs").glob("*/metrics.jsonl")
        for line in path.read_text().split("\n")[:-1]
    ]
    return json.loads(lines[-1])["step"] if lines else -1


def wait_for_step(tmp_path: Path, step: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the only run has recorded `step`; False if the process ended first."""
    return wait_until(lambda: step_so_far(tmp_path) >= step, process)
