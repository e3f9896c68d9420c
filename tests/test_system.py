"""What `make test` promises: it says what could not run here, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import system
from tests.conftest import ROOT, environment

pytestmark = pytest.mark.slow

IN_A_BROWSER = "tests/report/test_png.py::test_every_plot_becomes_a_picture_of_its_size"


def run_pytest(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={**environment(CI=""), **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_last_line_says_what_could_not_run_and_how_it_can() -> None:
    nothing_there = {"PATH": str(Path(sys.executable).parent)}
    end = run_pytest(IN_A_BROWSER, **nothing_there)
    assert end.returncode == 0, end.stdout
    assert end.stdout.splitlines()[-1] == (
        "1 test could not run: this machine lacks chromium, chromium-driver "
        "(sudo make system sets it up)"
    )


def test_the_last_line_counts_every_test_that_could_not_run() -> None:
    nothing_there = {"PATH": str(Path(sys.executable).parent), "CUDA_VISIBLE_DEVICES": ""}
    end = run_pytest(
        IN_A_BROWSER,
        "tests/gpu/test_on_a_gpu.py::test_memory_that_does_not_suffice_is_named",
        **nothing_there,
    )
    assert end.stdout.splitlines()[-1] == (
        "2 tests could not run: this machine lacks chromium, chromium-driver "
        "(sudo make system sets it up); this machine has no GPU"
    )


def test_where_ci_runs_nothing_may_be_left_out() -> None:
    end = run_pytest(IN_A_BROWSER, PATH=str(Path(sys.executable).parent), CI="true")
    assert end.returncode == 1
    assert "this machine lacks chromium, chromium-driver" in end.stdout


def test_only_root_installs_and_everybody_else_is_told_what(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # whoever runs the tests
    with pytest.raises(SystemExit, match="chromium-driver; sudo make system installs it"):
        system.main(only_if_root=False)
    system.main(only_if_root=True)
    assert "chromium-driver; tests that need it are skipped" in capsys.readouterr().out


def test_what_pip_is_going_to_install_is_said_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system, "_ROOT", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    system.main(only_if_root=True)
    assert capsys.readouterr().out.startswith("venv    pip is going to install into .venv: ")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "ready-dev").touch()
    system.main(only_if_root=True)
    assert "venv" not in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_killed_tests_have_started_ends_with_them(tmp_path: Path, number: int) -> None:
    program = """
import subprocess, sys, time
from tests import watchdog
watchdog.start()
daemon = subprocess.Popen(
    [sys.executable, "-c", "import os, time; os.fork() and os._exit(0); time.sleep(600)"],
    start_new_session=True,
)
daemon.wait()
print("started", flush=True)
time.sleep(600)
"""
    own = {name: value for name, value in os.environ.items() if name != "ADASPAN_TESTS"}
    tests = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=own, stdout=subprocess.PIPE, text=True
    )
    assert tests.stdout is not None
    assert tests.stdout.readline() == "started\n"
    mark = marked_by(tests.pid)
    assert len(mark) == 1
    tests.send_signal(number)
    tests.communicate()
    deadline = time.monotonic() + 30
    while processes_with(next(iter(mark))):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes_with(entry: bytes) -> list[int]:
    """Those whose environment has it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if entry in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:  # gone meanwhile
            continue
    return found


def marked_by(tests: int) -> set[bytes]:
    """What the watchdog of these tests looks for: it stands in its command line."""
    children = Path(f"/proc/{tests}/task/{tests}/children").read_text().split()
    lines = [Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0") for child in children]
    return {b"ADASPAN_TESTS=" + line[3] for line in lines if line[2].endswith(b"watchdog.py")}
