"""A small real sweep with runs in every state, and a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from adaspan.config.resolved import to_yaml
from adaspan.report.comparison import Comparison, compare
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.status.find import Runs
from tests import system
from tests.conftest import TINY, compose_run, require
from tests.processes import train_here
from tests.report import browser
from tests.shared import made_once

LEARNED_ONLY = ("span.ramp=", "span.initial_fraction=")
ODD = "<script>document.title='odd'</script>\"'&"


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Fixed and adaptive spans at two limits, some with two seeds; a third seed that was stopped
    half way; a run that failed, with an odd name and odd values; and one that has not begun.
    """
    folder = made_once(tmp_path_factory, "report", _sweep)
    found: Runs = json.loads((folder / "runs.json").read_text())
    return {folder / name: varies for name, varies in found.items()}


def _sweep(folder: Path) -> None:
    text = folder / "sums.txt"
    text.write_text("".join(f"{i % 37} plus {i % 11} is {i % 37 + i % 11}\n" for i in range(250)))
    common = (
        *TINY,
        "train.steps=24",
        "train.eval_every=6",
        "data=text",
        f"data.path={text}",
        f"data_dir={folder}",
        f"output_dir={folder}",
    )
    fixed = tuple(value for value in common if not value.startswith(LEARNED_ONLY))
    found: Runs = {}
    for kind, limit, seeds in (
        ("fixed", 12, (1,)),
        ("fixed", 24, (1,)),
        ("adaptive", 12, (1, 2)),
        ("adaptive", 24, (1, 2)),
    ):
        for seed in seeds:
            varies = {"span": kind, "span.limit": str(limit), "train.seed": str(seed)}
            values = (f"{key}={value}" for key, value in varies.items())
            train_here(*(fixed if kind == "fixed" else common), *values)
            found[newest(folder)] = varies
    last = next(reversed(found))
    stopped = copied(last, folder / "stopped", (*common, "span.limit=24", "train.seed=3"), step=12)
    stopped.set_status(State.RESUMABLE, 12)
    found[stopped.path] = {"span": "adaptive", "span.limit": "24", "train.seed": "3"}
    failed = copied(last, folder / ODD.replace("/", "|"), (*common, "span.limit=8"), step=18)
    failed.set_status(State.FAILED, 18, error="code", message=f"KeyError: {ODD}")
    found[failed.path] = {"span": "adaptive", "span.limit": ODD}
    found[folder / "waiting"] = {"span": "adaptive", "span.limit": "12", "train.seed": "3"}
    content = {path.name: varies for path, varies in found.items()}
    (folder / "runs.json").write_text(json.dumps(content))


@pytest.fixture(scope="session")
def comparison(runs: Runs) -> Comparison:
    return compare("a <sweep>", runs)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A real browser; each process of the tests has its own."""
    require(system.missing_for_browser())
    with browser.running(tmp_path_factory.mktemp("chromium")) as started:
        yield started


def newest(folder: Path) -> Path:
    """The run that was trained last."""
    return max(folder.glob("*/metrics.jsonl"), key=lambda path: path.stat().st_mtime_ns).parent


def copied(run: Path, to: Path, overrides: Sequence[str], step: int) -> RunFolder:
    """What a run of other values would have left that went like `run` as far as `step`."""
    to.mkdir()
    shutil.copy(run / "metrics.jsonl", to)
    folder = RunFolder(to)
    fingerprint = RunFolder(run).source.data_fingerprint()
    assert fingerprint
    folder.freeze(to_yaml(compose_run(*overrides)), fingerprint)
    folder.cut_back(step)
    return folder
