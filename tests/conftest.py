"""What the tests share: small texts, small runs, and launch.py as a user starts it."""

from __future__ import annotations

import gc
import io
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hypothesis import settings

from adaspan.config.extensions import IMPORTED
from adaspan.config.hydra import register, to_run_config
from adaspan.config.kinds.registry import KINDS
from adaspan.config.mistakes import user_errors
from adaspan.config.schema import RunConfig
from adaspan.launch import main
from tests import composition, system, watchdog

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

# Whatever the environment says: else each process compiles all tests and the package anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

torch.set_num_threads(1)
composition.remember()
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # which Triton reads when it is imported
settings.register_profile("seeded", derandomize=True)
settings.load_profile("seeded")


# What starts processes: Python, a cluster, a browser, a client of W&B. A test that uses none of
# these, but starts some itself or computes for long, is marked as slow where it stands.
SLOW_FIXTURES = {"launch", "cluster", "chromium", "server"}

end_watch = pytest.StashKey[Callable[[], None]]()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[end_watch] = watchdog.start()


def pytest_unconfigure(config: pytest.Config) -> None:
    if end_watch in config.stash:
        config.stash[end_watch]()


def pytest_collection_finish() -> None:
    """Leave what was imported out of garbage collection: a tenth of the time."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Let the last line say what could not run here, and how it can."""
    yield
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or hasattr(session.config, "workerinput"):
        return
    reasons = [
        report.longrepr[2].removeprefix("Skipped: ") for report in terminal.stats.get("skipped", ())
    ]
    if reasons:
        tests = f"{len(reasons)} test{'s' * (len(reasons) > 1)}"
        why = "; ".join(dict.fromkeys(map(system.with_way_out, reasons)))
        terminal.write_line(f"{tests} could not run: {why}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow ones, and have half of the processes begin with what takes longest, and mostly
    waits.

    xdist gives each an equal part of the list, and who has done his takes from the end of others'.
    """
    for item in items:
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
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


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What fails by chance, fails again."""
    random.seed(1)
    np.random.seed(1)
    if torch.cuda.is_available():
        torch.manual_seed(1)
    else:  # without a note for GPUs, for later, which takes a millisecond
        torch.default_generator.manual_seed(1)


@pytest.fixture(autouse=True)
def quick_means_quick(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that is not marked as slow starts nothing of this environment: no Python, no W&B."""
    started: list[str] = []
    _watchers.append(started)
    yield
    _watchers.remove(started)
    if started and not request.node.get_closest_marker("slow"):
        pytest.fail(f"starts {started[0]}: mark the test with @pytest.mark.slow")


_watchers: list[list[str]] = []


def _note_process(event: str, arguments: tuple[object, ...]) -> None:
    if event == "subprocess.Popen" and _watchers:
        program = str(arguments[0])
        if program.startswith(sys.prefix):
            _watchers[-1].append(program)


sys.addaudithook(_note_process)


@pytest.fixture(autouse=True)
def extensions_as_before() -> Iterator[None]:
    """A module that a test has imported as an extension is none in the next one."""
    before = dict(IMPORTED)
    yield
    IMPORTED.clear()
    IMPORTED.update(before)


def require(missing: list[str]) -> None:
    """Leave a test out that lacks something on this machine; where CI runs, nothing may."""
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(system.why_not(missing))


@pytest.fixture
def kinds_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds, and the options that Hydra knows of them."""
    register()
    Plugins.instance()  # which store theirs once, and never again
    for group, kinds in KINDS.items():
        monkeypatch.setitem(KINDS, group, dict(kinds))
    store = ConfigStore.instance()
    monkeypatch.setattr(store, "repo", _copied(store.repo))


def _copied(groups: dict[str, Any]) -> dict[str, Any]:
    """As a deep copy, but for the options, which nobody changes."""
    return {
        name: _copied(content) if isinstance(content, dict) else content
        for name, content in groups.items()
    }


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """4,000 bytes with something to learn: sums, written out."""
    return write_sums(tmp_path)


def write_sums(folder: Path) -> Path:
    path = folder / "sums.txt"
    lines = (f"{i % 37} plus {i % 11} is {i % 37 + i % 11}\n" for i in range(1000))
    path.write_text("".join(lines)[:4000])
    return path


@pytest.fixture
def runs_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs of the version before the packages had their present names: one done,
    one to go on with. Both read a text like `text`, at a place that is no more, and W&B has
    neither. What is prepared on this machine is not theirs.
    """
    monkeypatch.setenv("ADASPAN_DATA_DIR", str(tmp_path / "data"))
    return Path(shutil.copytree(ROOT / "tests" / "runs" / "before", tmp_path / "runs"))


@pytest.fixture
def tiny(text: Path) -> tuple[str, ...]:
    """Overrides of a tiny run that keeps to the test's own folders."""
    return tiny_on(text)


def tiny_on(text: Path) -> tuple[str, ...]:
    """Overrides of a tiny run whose folders lie beside its text."""
    return (
        *TINY,
        "data=text",
        f"data.path={text}",
        f"data_dir={text.parent / 'data'}",
        f"output_dir={text.parent / 'runs'}",
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


def call(
    main: Callable[[], object], *words: str, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A command in this process: what it prints and how it ends, without the start of Python.

    Args:
        main: its entry point.
        words: its command line.
        folder: where it is typed.
        variables: of the environment.
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, "argv", list(words))
        for name, value in environment(**variables).items():
            patch.setenv(name, value)
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


@pytest.fixture
def launch_here(tmp_path: Path) -> Launch:
    """As `launch`, in this process: where no signal matters, nor what Python does at its start."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        words = command(*arguments)[1:]
        return call(main, *words, folder=tmp_path, **variables)

    return run


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[[], Path]:
    """The only run folder below the test's `runs`."""

    def find() -> Path:
        (folder,) = (
            path for path in (tmp_path / "runs").iterdir() if path.name not in ("sweeps", "code")
        )
        return folder

    return find
