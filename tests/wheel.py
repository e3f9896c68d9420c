"""An adaspan that is installed from a wheel, apart from the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from adaspan import __version__
from tests.conftest import ROOT, environment
from tests.shared import made_once

Installed = Callable[..., "subprocess.CompletedProcess[str]"]


def python_with_wheel(factory: pytest.TempPathFactory) -> Path:
    """Of an environment that has adaspan from a wheel, and everything else from this one."""
    return made_once(factory, "wheel", _install) / "venv" / "bin" / "python"


def _install(folder: Path) -> None:
    for part in ("adaspan", "conf", "sweeps", "docs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, folder / "source" / part, ignore=ignored)
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    build = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder / "dist")]
    subprocess.run([*build, folder / "source"], check=True)
    (wheel,) = (folder / "dist").iterdir()
    assert wheel.name.startswith(f"adaspan-{__version__}-")
    shutil.rmtree(folder / "source")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", *offline, wheel], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    shared = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "shared.pth").write_text("\n".join(shared))


def installed_in(folder: Path, python: Path, **more: str) -> Installed:
    """Runs `adaspan ARGUMENTS` in a folder, or `python ARGUMENTS`, with more variables."""

    def run(*arguments: str, program: str = "adaspan") -> subprocess.CompletedProcess[str]:
        variables = environment(**more)
        variables.pop("PYTHONPATH", None)
        return subprocess.run(
            [python.with_name(program), *arguments],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
