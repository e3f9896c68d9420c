"""What the tests share: small texts, small runs, and launch.py as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from adaspan.config.hydra import register, to_run_config
from adaspan.config.mistakes import user_errors
from adaspan.config.schema import RunConfig

ROOT = Path(__file__).parent.parent

# A run that ends within seconds and still uses everything but W&B, which tests ask for: dropout,
# micro-batches, learned spans, a text short enough that the streams wrap around.
TINY = (
    "model.layers=2",
    "model.dim=16",
    "model.heads=2",
    "model.dropout=0.1",
    "span.limit=24",
    "span.ramp=4",
    "span.initial_fraction=0.3",
    "train.steps=60",
    "train.batch_size=4",
    "train.block_size=8",
    "train.micro_batches=2",
    "train.eval_every=20",
    "train.eval_fraction=0.5",
    "train.checkpoint_every=7",
    "train.log_every=3",
    "train.device=cpu",
    "optimizer.warmup_steps=5",
    "tracking=disabled",
)

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have half of the processes begin with what takes longest, and mostly waits.

    xdist gives each an equal part of the list, and who has done his takes from the end of others'.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.path.parent.name == "cluster"]
    short = iter([item for item in items if item not in long])
    waiting = max(1, processes // 2)
    ordered: list[pytest.Item] = []
    for process in range(processes):
        own = long[process::waiting] if process < waiting else []
        left = (len(items) - len(ordered)) // (processes - process) - len(own)
        ordered += [*own, *islice(short, max(0, left))]
    items[:] = [*ordered, *short]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """4,000 bytes with something to learn: sums, written out."""
    path = tmp_path / "sums.txt"
    lines = (f"{i % 37} plus {i % 11} is {i % 37 + i % 11}\n" for i in range(1000))
    path.write_text("".join(lines)[:4000])
    return path


@pytest.fixture
def tiny(text: Path, tmp_path: Path) -> tuple[str, ...]:
    """Overrides of a tiny run that keeps to the test's own folders."""
    return (
        *TINY,
        "data=text",
        f"data.path={text}",
        f"data_dir={tmp_path / 'data'}",
        f"output_dir={tmp_path / 'runs'}",
    )


def compose_run(*overrides: str) -> RunConfig:
    """The configuration that `python launch.py OVERRIDES` would train."""
    register()
    with (
        user_errors(),
        initialize_config_dir(str(ROOT / "conf"), version_base="1.3"),
    ):
        return to_run_config(compose("config", overrides=list(overrides)))


Launch = Callable[..., "subprocess.CompletedProcess[str]"]


def command(*arguments: str) -> list[str]:
    """The command line that starts launch.py in this environment."""
    return [sys.executable, str(ROOT / "launch.py"), *arguments]


def environment(**more: str) -> dict[str, str]:
    """One thread a process, so that tests can run side by side and sums do not depend on it."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Runs `python launch.py ARGUMENTS` in an empty folder and waits for its end."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[[], Path]:
    """The only run folder below the test's `runs`."""

    def find() -> Path:
        (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.name != "sweeps")
        return folder

    return find
