"""A sweep on a cluster where everything that can happen to a job does."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import count

from tests.cluster.conftest import Cluster
from tests.cluster.test_sweeps import all_done, assert_undisturbed, folders
from tests.processes import rows
from tests.tracking.test_run import steps as tracked_steps

# ADASPAN_DISTURB_SECONDS=3600 for the long form: one sweep after another.
SECONDS = float(os.environ.get("ADASPAN_DISTURB_SECONDS", "120"))
SECONDS_A_SWEEP = 120
RUNS = 12
LONGER = (
    "tracking=offline",
    "train.steps=200",
    "train.eval_every=100",
    "train.log_every=20",
    "train.checkpoint_every=20",
    "train.micro_batches=1",
)
WAYS = ("preempt", "requeue", "cancel", "signal", "kill", "kill the task", "launch again")
# SLURM may give the signal a minute too soon.
TWO_MINUTES = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=30")


def test_every_run_ends_once_and_as_if_undisturbed(sweeps: Cluster) -> None:
    end = time.monotonic() + SECONDS
    disturbances: Counter[str] = Counter()
    for number in count():
        seeds = range(1 + RUNS * number, 1 + RUNS * (number + 1))
        disturbances += disturb_a_sweep(sweeps, seeds, random.Random(number + 1))
        if time.monotonic() > end:
            break
    print(dict(disturbances))
    assert disturbances.keys() == set(WAYS), "each at least once"
    assert len(folders(sweeps)) == RUNS * (number + 1)
    assert not sweeps.processes("--config-path"), "no orphan"
    for folder in folders(sweeps):
        logged = [row["step"] for row in rows(folder)][:-1]
        assert logged == list(range(20, 201, 20)), "each row once"
        assert tracked_steps(folder) == logged, "in one W&B run, each row once"
    every = range(1, 1 + len(folders(sweeps)))
    assert_undisturbed(sweeps, *(f"train.seed={seed} {' '.join(LONGER)}" for seed in every))


def disturb_a_sweep(sweeps: Cluster, seeds: Iterable[int], chance: random.Random) -> Counter[str]:
    """Launch a sweep, disturb it, and launch it again until all runs are done; what was done."""
    typed = ("train.seed=" + ",".join(str(seed) for seed in seeds), *LONGER, *TWO_MINUTES)
    assert sweeps.launch(*typed).returncode == 0
    disturbances = disturb(sweeps, typed, chance)
    for _ in range(10):
        sweeps.wait_until_empty(600)
        if all_done(sweeps):
            return disturbances
        again = sweeps.launch(*typed)
        assert again.returncode == 0, again.stderr
    raise AssertionError(sweeps.explain())


def disturb(sweeps: Cluster, typed: Sequence[str], chance: random.Random) -> Counter[str]:
    """For a while, preempt, requeue, cancel and kill jobs, and submit what is missing; how often.

    All of it again and again, each time in another order.
    """
    disturbances: Counter[str] = Counter()
    end = time.monotonic() + SECONDS_A_SWEEP
    while time.monotonic() < end and not all_done(sweeps):
        for way in chance.sample(WAYS, len(WAYS)):
            time.sleep(chance.uniform(1, 4))
            if running := sweeps.jobs("RUNNING"):
                disturbances[way] += do(way, sweeps, chance.choice(running), typed, chance)
    return +disturbances  # without those that did not happen


def do(way: str, sweeps: Cluster, job: str, typed: Sequence[str], chance: random.Random) -> bool:
    """Whether it could be done."""
    match way:
        case "preempt":
            sweeps.preempt()
        case "requeue":
            sweeps.try_to("scontrol", "requeue", job)
        case "cancel":
            sweeps.try_to("scancel", job)
        case "signal":
            sweeps.try_to("scancel", "--signal=USR2", job)
        case "kill":
            return kill_one(sweeps, "--config-path", chance)
        case "kill the task":
            return kill_one(sweeps, "submitit.core._submit", chance)
        case "launch again":
            sweeps.launch(*typed)
    return True


def kill_one(sweeps: Cluster, word: str, chance: random.Random) -> bool:
    """Whether there was one; a job that has just begun takes seconds to start its processes."""
    end = time.monotonic() + 10
    while not (found := sweeps.processes(word)):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    with suppress(ProcessLookupError):
        os.kill(chance.choice(found), signal.SIGKILL)
    return True
