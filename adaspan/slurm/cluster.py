"""What SLURM says and does, through its own commands."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adaspan.errors import RunError

_TIMEOUT_SECONDS = 60
# What sbatch says of nodes that suit a job, but are taken or away at the moment.
_NOT_NOW = ("not available now", "node not available", "busy", "down", "drained", "reserved")
# What `MaxArraySize` is unless a site changes it.
_DEFAULT_ARRAY_SIZE = 1001


@dataclass(frozen=True)
class Queued:
    """A job that SLURM still holds: waiting, running or about to end."""

    id: str  # 123, or 123_4 in an array
    name: str
    state: str  # PENDING, RUNNING, COMPLETING, ...
    reason: str  # why it waits

    @property
    def is_held_back(self) -> bool:
        """Whether its node failed as it started: SLURM then lets it wait until it is released."""
        reason = self.reason.replace("_", " ")  # as some versions write it
        return self.state == "PENDING" and reason == "launch failed requeued held"


def available() -> bool:
    """Whether this machine can submit jobs at all."""
    return shutil.which("sbatch") is not None


def queue() -> dict[str, Queued]:
    """Every job of every user that has not ended, by id.

    Raises:
        RunError: SLURM does not answer.
    """
    answer = _ask("squeue", "--all", "--array", "--noheader", "--format=%i|%j|%T|%r")
    jobs = [Queued(*line.split("|", 3)) for line in answer.splitlines()]
    return {job.id: job for job in jobs}


def refusal(sbatch_text: str) -> str:
    """Why SLURM could never start such a job; empty if it can, now or later.

    Stricter than sbatch, which accepts some jobs that would wait for ever.
    """
    answer = _answer("sbatch", "--test-only", stdin=sbatch_text)
    message = what_sbatch_says(answer.stderr)
    for_now = any(words in message for words in _NOT_NOW)
    return "" if answer.returncode == 0 or for_now else message


def what_sbatch_says(text: str) -> str:
    """Its lines as one."""
    lines = [line for line in text.strip().splitlines() if "--help" not in line]
    return "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines)


def longest_minutes(partition: str | None) -> float:
    """How long a job of the partition (or of the default one) may take."""
    limits = dict(
        line.split("|")
        for line in _ask("sinfo", "--all", "--noheader", "--format=%P|%l").splitlines()
    )
    default = next((name for name in limits if name.endswith("*")), "")
    return minutes(limits.get(f"{partition}*", limits.get(partition or default, "infinite")))


def minutes(limit: str) -> float:
    """A time as SLURM writes it: 30:00, 12:00:00, 1-12:00:00 or infinite."""
    if limit == "infinite":
        return math.inf
    days, _, clock = limit.rpartition("-")
    hours, whole, seconds = [0, *(int(part) for part in clock.split(":"))][-3:]
    return int(days or 0) * 1440 + hours * 60 + whole + seconds / 60


def last_states(ids: Sequence[str]) -> dict[str, str]:
    """How jobs ended, as far as SLURM still knows: COMPLETED, TIMEOUT, OUT_OF_MEMORY, ...

    Without accounting it forgets within minutes.
    """
    if not ids:
        return {}
    listed = ",".join(sorted({id.partition("_")[0] for id in ids}))
    states: dict[str, str] = {}
    for command in (
        ["sacct", "--noheader", "--parsable2", "--allocations", "-o", "JobID,State", "-j", listed],
        [
            *("squeue", "--all", "--array", "--noheader", "--states=all"),
            *("--format=%i|%T", f"--jobs={listed}"),
        ],
    ):
        try:
            lines = _ask(*command).splitlines()
        except RunError:  # unknown by now, or a site without accounting
            continue
        # What never left an array bears the array's id: 17, or 17_[3-5]. "CANCELLED by 0".
        states_by_id = {
            id.partition("_[")[0]: state.split()[0]
            for id, state in (line.split("|")[:2] for line in lines)
        }
        known = {id: states_by_id.get(id, states_by_id.get(id.partition("_")[0])) for id in ids}
        states |= {id: state for id, state in known.items() if state}
    return states


def may_requeue(id: str) -> bool:
    """Whether a job is simply running. If not, SLURM is about to end it: it was cancelled, or goes
    back into the queue anyway.
    """
    try:
        return "JobState=RUNNING" in _ask("scontrol", "--all", "--oneliner", "show", "job", id)
    except RunError:
        return False


def requeue(id: str) -> bool:
    """Put a running job back into the queue; False where the site does not let it."""
    try:
        _ask("scontrol", "requeue", id)
    except RunError:
        return False
    return True


def cancel(ids: Iterable[str]) -> None:
    """End jobs, waiting or running. Raises `RunError` if SLURM refuses."""
    if listed := list(ids):
        _ask("scancel", *listed)


def release_held_back(jobs: Iterable[Queued]) -> int:
    """Let those jobs start that wait only because a node failed; how many these are.

    Raises:
        RunError: SLURM refuses.
    """
    held = [job.id for job in jobs if job.is_held_back]
    if held:
        _ask("scontrol", "release", ",".join(held))
    return len(held)


def cancel_waiting(names: Iterable[str]) -> None:
    """End the waiting jobs of these names; those that run go on. Raises `RunError`."""
    for name in names:
        _ask("scancel", "--state=PENDING", f"--name={name}")


def settings() -> dict[str, str]:
    """The cluster's configuration. Raises `RunError`."""
    lines = _ask("scontrol", "show", "config").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def array_size() -> int:
    """Jobs that one array may have."""
    try:
        return int(settings().get("MaxArraySize", _DEFAULT_ARRAY_SIZE))
    except RunError:  # no scontrol here
        return _DEFAULT_ARRAY_SIZE


def gpus_a_node(partition: str | None) -> int:
    """The most GPUs that a node of the partition (or of the default one) has; 0 without SLURM.

    Of several partitions, separated by commas, the least of these.
    """
    try:
        answer = _ask("sinfo", "--all", "--noheader", "--format=%P|%G")
    except RunError:
        return 0
    most: dict[str, int] = {}
    for name, devices in (line.split("|") for line in answer.splitlines()):
        if name.rstrip("*") in partition.split(",") if partition else name.endswith("*"):
            counts = re.findall(r"gpu(?::[\w.-]+)?:(\d+)", devices)
            most[name] = max([most.get(name, 0), *map(int, counts)])
    return min(most.values(), default=0)


def _ask(*command: str) -> str:
    answer = _answer(*command)
    if answer.returncode:
        lines = (answer.stderr.strip() or answer.stdout.strip()).splitlines()
        last = lines[-1].removeprefix(f"{command[0]}: ") if lines else answer.returncode
        raise RunError(f"{command[0]}: {last}")
    return answer.stdout


def _answer(*command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise RunError(
            f"{command[0]}: not found; is this a login node of a cluster? "
            "hydra/launcher=local trains here"
        ) from None
    except subprocess.TimeoutExpired:
        raise RunError(f"{command[0]}: no answer in {_TIMEOUT_SECONDS} s; try again") from None
