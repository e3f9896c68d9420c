"""A cluster for the tests of one process, and sweeps on it."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adaspan import cli, launch
from tests import system
from tests.cluster import slurm
from tests.conftest import call, command, environment, require

QUICK_SLURM = (
    "hydra/launcher=slurm",
    "hydra.launcher.partition=main",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.timeout_min=30",
)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Cluster]:
    """A real SLURM; each process of the tests has its own."""
    require(system.missing_for_cluster())
    with slurm.running(tmp_path_factory.mktemp("slurm")) as started:
        yield started


class Cluster:
    """What a test does on the cluster: launch, look, wait."""

    def __init__(self, started: slurm.Cluster, folder: Path, tiny: tuple[str, ...]) -> None:
        self._started = started
        self._folder = folder
        self.tiny = ("-m", *QUICK_SLURM, *tiny)
        self.runs = folder / "runs"

    def environment(self, **more: str) -> dict[str, str]:
        return environment(**self._started.environment, **more)

    def ask(self, *arguments: str) -> str:
        """One of SLURM's commands."""
        return self._started.ask(*arguments)

    def launch(self, *overrides: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """`python launch.py -m hydra/launcher=slurm ...` with a tiny run, in this process."""
        return self._here(launch.main, *command(*self.tiny, *overrides)[1:], **variables)

    def adaspan(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`adaspan ARGUMENTS`, in this process."""
        return self._here(cli.main, "adaspan", *arguments)

    def _here(
        self, main: Callable[[], object], *words: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        variables = {**self._started.environment, **variables}
        return call(main, *words, folder=self._folder, **variables)

    def logs(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`adaspan logs ARGUMENTS`, which becomes another program."""
        return self.run(str(Path(sys.executable).parent / "adaspan"), "logs", *arguments)

    def run(
        self, *words: str, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=cwd or self._folder,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=600,
        )

    def jobs(self, state: str = "all") -> list[str]:
        """Ids of the jobs in the queue, or in one state, that train runs of this test."""
        known = {json.loads(path.read_text())["id"] for path in self.runs.glob("*/job.json")}
        listed = ["-h", "-r", "-o", "%i", *([f"--states={state}"] if state != "all" else [])]
        return [id for id in self.ask("squeue", *listed).split() if id in known]

    def try_to(self, *arguments: str) -> None:
        """One of SLURM's commands, which may come too late; scancel then tries for minutes."""
        self.run("timeout", "3", *arguments)

    @contextmanager
    def disk_that_hangs(self, run: Path) -> Iterator[None]:
        """Whoever writes the metrics of a run waits for ever, as on a shared disk that is gone."""
        metrics, written, endless = (run / name for name in ("metrics.jsonl", "kept", "endless"))
        os.link(metrics, written)
        os.mkfifo(endless)  # which nobody reads
        endless.rename(metrics)
        try:
            yield
        finally:
            written.rename(metrics)

    def preempt(self) -> None:
        """Take a node for a moment for something more important."""
        whole_node = ("--partition=high", "--nodes=1", "--exclusive", "--output=/dev/null")
        self.ask("sbatch", *whole_node, "--wrap=sleep 1")

    @contextmanager
    def nodes_that_fail(self) -> Iterator[None]:
        """No job can start meanwhile; then the nodes are mended."""
        self._started.prolog_fails.touch()
        try:
            yield
        finally:
            self._started.prolog_fails.unlink()
            drained = self.ask("sinfo", "-h", "-N", "-p", "main", "-t", "drain", "-o", "%N").split()
            for node in drained:
                self.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")

    @contextmanager
    def node_down(self, node: str) -> Iterator[None]:
        """It has failed, and what ran there with it."""
        self.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        try:
            yield
        finally:
            self.try_to("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def processes(self, word: str) -> list[int]:
        """Processes of this test's jobs whose command line has the word."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # gone meanwhile
                continue
            if word in line and str(self.runs) in line:
                found.append(int(path.parent.name))
        return found

    def wait_until(
        self, happened: Callable[[], Any], seconds: float = 180, seconds_between: float = 0.2
    ) -> None:
        end = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < end, self.explain()
            time.sleep(seconds_between)

    def wait_until_empty(self, seconds: float = 300) -> None:
        # Not more often: each look at the queue starts a process, and the jobs need the cores.
        self.wait_until(lambda: not self.ask("squeue", "-ho", "%i").split(), seconds, 0.7)

    def states(self) -> dict[str, str]:
        """State of every run, by the last values in which it varies."""
        answer = self.adaspan("status", "--json")
        return {run["run"]: run["state"] for run in json.loads(answer.stdout)}

    def explain(self) -> str:
        """All that may say why something did not happen."""
        outputs = [
            f"{path}\n{path.read_text()[-1500:]}"
            for pattern in (
                "*/output.txt",
                "*/status.json",
                "*/starts.json",
                "sweeps/*/slurm/*.err",
            )
            for path in (*self.runs.glob(pattern), *self.runs.glob(f"sweeps/*/canary/{pattern}"))
        ]
        return "\n".join([self.ask("squeue"), *outputs])


@pytest.fixture
def sweeps(cluster: slurm.Cluster, tmp_path: Path, tiny: tuple[str, ...]) -> Iterator[Cluster]:
    yield Cluster(cluster, tmp_path, tiny)
    subprocess.run(
        ["scancel", f"--user={getpass.getuser()}"],
        env={**os.environ, **cluster.environment},
        check=True,
    )
    deadline = time.monotonic() + 60
    while cluster.ask("squeue", "-ho", "%i").split() and time.monotonic() < deadline:
        time.sleep(0.2)
