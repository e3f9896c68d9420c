"""A sweep on a cluster where everything that can happen to a job does."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from tests.cluster.conftest import Cluster
from tests.cluster.test_sweeps import all_done, assert_undisturbed, folders
from tests.runs import rows
from tests.tracking.test_run import steps as tracked_steps

# ADASPAN_DISTURB_SECONDS=3600 for the long form: one sweep after another.
SECONDS = float(os.environ.get("ADASPAN_DISTURB_SECONDS", "120"))
SECONDS_A_SWEEP = 120
RUNS = 12
LONGER = (
    "tracking=offline",
    "train.steps=300",
    "train.eval_every=100",
    "train.log_every=20",
    "train.checkpoint_every=20",
)
A_MINUTE = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=30")


def test_every_run_ends_once_and_as_if_undisturbed(sweeps: Cluster) -> None:
    end = time.monotonic() + SECONDS
    for number in count():
        seeds = range(1 + RUNS * number, 1 + RUNS * (number + 1))
        disturb_a_sweep(sweeps, seeds, random.Random(number + 1))
        if time.monotonic() > end:
            break
    assert len(folders(sweeps)) == RUNS * (number + 1)
    assert not processes(sweeps, "--config-path"), "no orphan"
    for folder in folders(sweeps):
        logged = [row["step"] for row in rows(folder)][:-1]
        assert logged == list(range(20, 301, 20)), "each row once"
        assert tracked_steps(folder) == logged, "in one W&B run, each row once"
    every = range(1, 1 + len(folders(sweeps)))
    assert_undisturbed(sweeps, *(f"train.seed={seed} {' '.join(LONGER)}" for seed in every))


def disturb_a_sweep(sweeps: Cluster, seeds: Iterable[int], chance: random.Random) -> None:
    """Launch a sweep, disturb it, and launch it again until all runs are done."""
    typed = ("train.seed=" + ",".join(str(seed) for seed in seeds), *LONGER, *A_MINUTE)
    assert sweeps.launch(*typed).returncode == 0
    done_to_them = disturb(sweeps, typed, chance)
    assert min(done_to_them.values()) > 0, done_to_them
    for _ in range(10):
        sweeps.wait_until_empty(600)
        if all_done(sweeps):
            return
        again = sweeps.launch(*typed)
        assert again.returncode == 0, again.stderr
    raise AssertionError(sweeps.explain())


def disturb(sweeps: Cluster, typed: Sequence[str], chance: random.Random) -> dict[str, int]:
    """For a while, preempt, requeue, cancel and kill jobs, and submit what is missing; how often.

    All of it again and again, each time in another order.
    """
    ways = {
        "preempt": lambda job: sweeps.preempt(),
        "requeue": lambda job: sweeps.try_to("scontrol", "requeue", job),
        "cancel": lambda job: sweeps.try_to("scancel", job),
        "signal": lambda job: sweeps.try_to("scancel", "--signal=USR2", job),
        "kill": lambda job: kill_one(processes(sweeps, "--config-path"), chance),
        "kill the task": lambda job: kill_one(processes(sweeps, "submitit.core._submit"), chance),
        "launch again": lambda job: sweeps.launch(*typed),
    }
    counts = dict.fromkeys(ways, 0)
    end = time.monotonic() + SECONDS_A_SWEEP
    while time.monotonic() < end and not all_done(sweeps):
        for way in chance.sample(list(ways), len(ways)):
            time.sleep(chance.uniform(1, 4))
            if running := sweeps.jobs("RUNNING"):
                counts[way] += ways[way](chance.choice(running)) is not False
    return counts


def processes(sweeps: Cluster, word: str) -> list[int]:
    """Processes of this test's jobs whose command line has the word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # gone meanwhile
            continue
        if word in line and str(sweeps.runs) in line:
            found.append(int(path.parent.name))
    return found


def kill_one(found: list[int], chance: random.Random) -> bool:
    """Whether there was one."""
    if not found:
        return False
    with suppress(ProcessLookupError):
        os.kill(chance.choice(found), signal.SIGKILL)
    return True
