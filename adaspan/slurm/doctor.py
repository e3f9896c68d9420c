"""What this cluster offers, and what that means for runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adaspan.errors import RunError
from adaspan.slurm import cluster

_NODE_SECONDS = 60
# Asked on a node: can it put a job back, does it see the file, has it a GPU.
_ON_A_NODE = """
import shutil, subprocess, sys, pathlib
print(bool(shutil.which("scontrol")), pathlib.Path(sys.argv[1]).exists(), sep="|", end="|")
print(shutil.which("nvidia-smi") and subprocess.run(
    ["nvidia-smi", "-L"], capture_output=True, text=True).stdout.splitlines() or "none")
"""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    what: str
    value: str
    meaning: str
    good: bool


def examine(output_dir: Path, partition: str | None) -> Iterator[Finding]:
    """Look at the cluster and at one of its nodes.

    Args:
        output_dir: where run folders go; nodes should see it.
        partition: of the node; None: the default.

    Raises:
        RunError: there is no SLURM here, or it does not answer.
    """
    if not cluster.available():
        raise RunError(
            "no SLURM here (no sbatch); is this a login node of a cluster? hydra/launcher=local "
            "trains here"
        )
    settings = cluster.settings()
    yield from _of_the_controller(settings)
    yield from _of_a_node(output_dir, partition)


def _of_the_controller(settings: dict[str, str]) -> Iterator[Finding]:
    mode = settings.get("PreemptMode", "OFF")
    early = "preempt_send_user_signal" in settings.get("SlurmctldParameters", "")
    yield Finding(
        "preemption",
        f"{mode}{', with a signal in advance' if early else ''}",
        "no job is preempted"
        if mode == "OFF"
        else "a preempted run saves, and goes on when its job is back"
        if "REQUEUE" in mode
        else "a preempted run saves; adaspan resubmit sends it again",
        True,
    )
    requeues = settings.get("JobRequeue", "1") == "1"
    yield Finding(
        "requeue",
        "allowed" if requeues else "off by default",
        "a run goes on after a node failure"
        if requeues
        else "our jobs ask for it themselves with --requeue",
        True,
    )
    size = settings.get("MaxArraySize", "?")
    yield Finding("array limit", size, "longer sweeps become several arrays", True)
    accounting = "none" not in settings.get("AccountingStorageType", "none")
    yield Finding(
        "accounting",
        "sacct" if accounting else "none",
        "how a job ended is known for long"
        if accounting
        else "how a job ended is known from the run folders, and for minutes from squeue",
        True,
    )
    yield Finding("SLURM", settings.get("SLURM_VERSION", "?"), "", True)


def _of_a_node(output_dir: Path, partition: str | None) -> Iterator[Finding]:
    output_dir.mkdir(parents=True, exist_ok=True)
    probe = output_dir.resolve() / f".doctor-{uuid.uuid4().hex}"
    probe.touch()
    chosen = [f"--partition={partition}"] if partition else []
    gpus = cluster.gpus_a_node(partition)
    try:
        answer = subprocess.run(
            ["srun", "--quiet", "--ntasks=1", "--time=1", f"--immediate={_NODE_SECONDS}", *chosen]
            + (["--gpus-per-node=1"] if gpus else [])
            + [sys.executable, "-c", _ON_A_NODE, str(probe)],
            capture_output=True,
            text=True,
            timeout=2 * _NODE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield Finding("a node", "no answer", "ask again when one is free", False)
        return
    finally:
        probe.unlink()
    if answer.returncode:
        stderr_line = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        yield Finding("a node", stderr_line, "is one free, and --partition right?", False)
        return
    can_requeue, sees_disk, gpu = answer.stdout.strip().split("|")
    yield Finding(
        "Python",
        sys.executable,
        "nodes can start it",
        True,
    )
    yield Finding(
        "scontrol on nodes",
        "yes" if can_requeue == "True" else "no",
        "a stopped run puts its job back into the queue"
        if can_requeue == "True"
        else "a stopped run is resumable; adaspan resubmit sends it again",
        can_requeue == "True",
    )
    yield Finding(
        "shared disk",
        str(output_dir.resolve()),
        "nodes see it" if sees_disk == "True" else "nodes do NOT see it: choose another output_dir",
        sees_disk == "True",
    )
    means = "runs will train on CPUs"
    if gpus:
        means = "" if gpu != "none" else "SLURM counts GPUs there, but nvidia-smi sees none"
    yield Finding("GPU", gpu, means, bool(gpu != "none" or not gpus))
    yield Finding("free space", f"{shutil.disk_usage(output_dir).free / 2**30:.0f} GiB", "", True)
