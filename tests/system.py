"""What the tests need of a machine beside Python: a SLURM and a browser, as Debian has them.

python tests/system.py --if-root    # as root install what is missing, else say what that means
sudo python tests/system.py         # install it
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# A program that shows whether it is there, and Debian's package that has it.
_CLUSTER = {"slurmctld": "slurm-wlm", "munged": "munge"}
_BROWSER = {"chromium": "chromium", "chromedriver": "chromium-driver"}
NODES = ("n1", "n2", "gpu1")
_HOSTS = Path("/etc/hosts")
_ROOT = Path(__file__).parents[1]
# What a skipped test says first.
NOT_HERE = "this machine lacks"


def missing_for_cluster() -> list[str]:
    """What a test on a cluster lacks here; empty if it can run."""
    return [*_missing_packages(_CLUSTER), *([_hosts_line()] if _missing_nodes() else [])]


def missing_for_browser() -> list[str]:
    """What a test in a browser lacks here; empty if it can run."""
    return _missing_packages(_BROWSER)


def why_not(missing: list[str]) -> str:
    """Why a test is skipped."""
    return f"{NOT_HERE} {', '.join(missing)}"


def with_way_out(reason: str) -> str:
    """Why a test was skipped, and the command that helps, if one does."""
    return f"{reason} (sudo make system sets it up)" if reason.startswith(NOT_HERE) else reason


def install() -> None:
    """Install all that is missing. Needs root and Debian, or one of its kind, which may start the
    services of what it installs. The tests use none of them.
    """
    if packages := _missing_packages({**_CLUSTER, **_BROWSER}):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        keep_changed = ["-o", "Dpkg::Options::=--force-confold"]  # configuration files
        for command in (["update"], ["install", "--yes", *keep_changed, *packages]):
            subprocess.run(["apt-get", "-qq", *command], env=quiet, check=True, timeout=900)
    if _missing_nodes():
        with _HOSTS.open("a") as file:
            file.write(f"{_hosts_line().partition(': ')[2]}\n")


def _missing_packages(programs: dict[str, str]) -> list[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # where not everybody looks
    return [package for name, package in programs.items() if not shutil.which(name, path=path)]


def _missing_nodes() -> list[str]:
    known = _HOSTS.read_text().split()
    return [node for node in NODES if node not in known]


def _hosts_line() -> str:
    return f"a line in {_HOSTS}: 127.0.0.1 {' '.join(_missing_nodes())}"


def _venv_is_ready() -> bool:
    """Whether make leaves `.venv` as it is."""
    ready = _ROOT / ".venv" / "ready-dev"
    wanted = [_ROOT / name for name in ("pyproject.toml", "constraints.txt")]
    return ready.exists() and all(path.stat().st_mtime <= ready.stat().st_mtime for path in wanted)


def main(only_if_root: bool) -> None:
    """Say what is to be installed, then do it.

    Args:
        only_if_root: as `make test` asks, which goes on to `.venv`: say so; for anybody but root,
            install nothing and say what that means.

    Raises:
        SystemExit: it cannot be installed.
    """
    missing = [*missing_for_cluster(), *missing_for_browser()]
    if only_if_root and not _venv_is_ready():
        print("venv    pip is going to install into .venv: adaspan, and what constraints.txt pins")
    if not missing:
        print("system  a SLURM and a browser for the tests are here; nothing is installed")
    elif os.geteuid() == 0 and shutil.which("apt-get"):
        print(
            f"system  installing on this machine: {', '.join(missing)}; Debian may start services "
            "of these (munge), the tests use none of them",
            flush=True,
        )
        install()
    elif only_if_root:
        print(
            f"system  {why_not(missing)}; tests that need it are skipped (sudo make system "
            "installs it)"
        )
    else:
        way_out = "install it" if os.geteuid() == 0 else "sudo make system installs it"
        raise SystemExit(f"system  {why_not(missing)}; {way_out}")


if __name__ == "__main__":
    main(only_if_root=sys.argv[1:] == ["--if-root"])
