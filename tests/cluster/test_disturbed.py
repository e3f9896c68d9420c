"""A sweep on a cluster where everything that can happen to a job does."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.cluster.conftest import Cluster
from tests.cluster.test_sweeps import all_done, assert_undisturbed, folders
from tests.runs import rows
from tests.test_tracking import steps as tracked_steps

# ADASPAN_DISTURB_SECONDS=3600 for the long form.
SECONDS = float(os.environ.get("ADASPAN_DISTURB_SECONDS", "120"))
SEEDS = [f"train.seed={seed}" for seed in range(1, 13)]


def test_every_run_ends_once_and_as_if_undisturbed(sweeps: Cluster) -> None:
    longer = (
        "train.steps=1500",
        "train.eval_every=500",
        "train.log_every=50",
        "train.checkpoint_every=100",
    )
    typed = ("train.seed=" + ",".join(str(seed) for seed in range(1, 13)), *longer)
    assert sweeps.launch(*typed).returncode == 0
    done_to_them = disturb(sweeps, random.Random(1))
    print(done_to_them)
    for _ in range(10):
        sweeps.wait_until_empty(600)
        if all_done(sweeps):
            break
        again = sweeps.launch(*typed)
        assert again.returncode == 0, again.stderr
    assert all_done(sweeps), sweeps.explain()
    assert len(folders(sweeps)) == 12
    assert not sweeps.jobs()

    for folder in folders(sweeps):
        logged = [row["step"] for row in rows(folder)][:-1]
        assert logged == list(range(50, 1501, 50)), "each row once"
        assert tracked_steps(folder) == logged, "in one W&B run, each row once"
    few = SEEDS if SECONDS > 600 else SEEDS[::4]
    assert_undisturbed(sweeps, *(f"{seed} {' '.join(longer)}" for seed in few))


def disturb(sweeps: Cluster, chance: random.Random) -> dict[str, int]:
    """For a while: preempt, requeue, cancel and kill jobs; submit what is missing now and then."""
    ways = {
        "preempt": lambda: sweeps.preempt(),
        "requeue": lambda: sweeps.try_to("scontrol", "requeue", chance.choice(sweeps.jobs())),
        "cancel": lambda: sweeps.try_to("scancel", chance.choice(sweeps.jobs())),
        "signal": lambda: signal_one(sweeps, chance),
        "kill": lambda: kill_one(processes(sweeps, "--config-path"), chance),
        "kill the task": lambda: kill_one(processes(sweeps, "submitit.core._submit"), chance),
    }
    counts = dict.fromkeys(ways, 0)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and not all_done(sweeps):
        time.sleep(chance.uniform(1, 5))
        if sweeps.jobs():
            way = chance.choice(list(ways))
            ways[way]()
            counts[way] += 1
    return counts


def signal_one(sweeps: Cluster, chance: random.Random) -> None:
    """USR2 to a running job; to one that waits scancel would try it again and again."""
    running = set(sweeps.ask("squeue", "-rht", "RUNNING", "-o", "%i").split())
    if found := [job for job in sweeps.jobs() if job in running]:
        sweeps.try_to("scancel", "--signal=USR2", chance.choice(found))


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


def kill_one(found: list[int], chance: random.Random) -> None:
    if found:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(found), signal.SIGKILL)
