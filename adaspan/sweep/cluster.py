"""Submit the runs of a sweep to SLURM: only those that are missing, each with its code frozen."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from adaspan.config.resolved import to_yaml
from adaspan.config.schema import RunConfig, SlurmSettings
from adaspan.console import Console
from adaspan.errors import RunError
from adaspan.runs.failures import State
from adaspan.slurm import cluster
from adaspan.slurm.job_record import job_of
from adaspan.slurm.lookup import live_jobs, settled_jobs
from adaspan.slurm.submit import submit, submitted_code, submitting
from adaspan.status.state import read_states
from adaspan.status.table import show, table
from adaspan.sweep.plan import Job, Sweep
from adaspan.tracking.files import clear
from adaspan.tracking.files import set_aside as set_run_aside

_POLL_SECONDS = 5.0
# A controller that restarts does not answer for minutes.
_PATIENCE_SECONDS = 1800.0
_LONGEST_PAUSE_SECONDS = 60.0
# Steps of the short run that goes first.
_CANARY_STEPS = 20

_Answer = TypeVar("_Answer")


def missing_jobs(sweep: Sweep) -> list[Job]:
    """The runs that are neither done nor under way; where no SLURM answers, as far as known."""
    try:
        queue = cluster.queue()
    except RunError:
        queue = {}
    live = live_jobs([job.folder for job in sweep.jobs], queue)
    return [job for job in _not_under_way(sweep, live) if job.wants_training()]


def code_under_way(sweep: Sweep) -> dict[str, Path]:
    """The frozen code of the runs that have a job, by their names; none where no SLURM answers."""
    try:
        queue = cluster.queue()
    except RunError:
        return {}
    live = live_jobs([job.folder for job in sweep.jobs], queue)
    of_jobs = {
        job.name: submitted_code(job.folder) for job in sweep.jobs if job.folder.path in live
    }
    return {name: code for name, code in of_jobs.items() if code}


def submit_missing(
    sweep: Sweep,
    fingerprints: Mapping[str, str],
    code: Path,
    settings: SlurmSettings,
    canary: bool,
) -> None:
    """Submit every run that is neither done nor under way, and say what happens next.

    Args:
        sweep: the runs, checked.
        fingerprints: of their data, which are prepared, by the runs' names.
        code: the frozen code.
        settings: of the jobs.
        canary: a short form of the first run goes first; the others start when it has succeeded.

    Raises:
        UserError: SLURM refuses the jobs.
        RunError: SLURM does not answer; nothing was submitted.
    """
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with submitting(sweep.output_dir):
        live = settled_jobs([job.folder for job in sweep.jobs])
        waiting = _not_under_way(sweep, live)
        missing = [job for job in waiting if job.wants_training()]
        under_way = len(sweep.jobs) - len(waiting)
        console.print(
            f"sweep   {sweep.name} · {len(sweep.jobs)} runs: "
            f"{len(waiting) - len(missing)} done, {under_way} under way, {len(missing)} to submit"
        )
        if released := cluster.release_held_back(live.values()):
            console.print(f"release {released} jobs, held back since a node failed as they started")
        if not missing:
            console.print("        nothing to submit")
            return
        with _restarted_if_taken(missing) as taken:
            for job in missing:
                frozen = to_yaml(job.config, for_one_start=True)
                job.folder.freeze(frozen, fingerprints[job.name])
            first = None
            if canary:
                short = Job(_shortened(missing[0].config, sweep.folder / "canary"), {})
                first = short.folder
                if first.path not in settled_jobs([first]):  # an earlier one does as well
                    _begin_anew(short, fingerprints[missing[0].name])
                    list(submit([first], sweep.folder, settings, code))
                job_of_first = job_of(first)
                assert job_of_first, "just submitted, or earlier"
                console.print(
                    f"canary  job {job_of_first.id} · {first.path}: the others start when it has "
                    "succeeded"
                )
            by_folder = {job.folder.path: job for job in missing}
            folders = [job.folder for job in missing]
            for folder, id in submit(folders, sweep.folder, settings, code, first):
                taken.add(folder.path)
                console.print(f"submit  {by_folder[folder.path]} · job {id} · {folder.path}")
    console.print(f"code    {code}: what is edited now changes no job")
    console.print(f"next    {_look(sweep)}")


def _not_under_way(sweep: Sweep, live: Mapping[Path, cluster.Queued]) -> list[Job]:
    return [job for job in sweep.jobs if job.folder.path not in live and not job.folder.is_locked()]


def _look(sweep: Sweep) -> str:
    return shlex.join(["adaspan", "status", sweep.name, "--runs", str(sweep.output_dir)])


def wait_for(sweep: Sweep) -> None:
    """Wait until no run of the sweep has a job any more; release jobs that are held back.

    Raises:
        RunError: SLURM has not answered for half an hour.
        KeyboardInterrupt: the user waits no longer; the jobs go on.
    """
    folders = [job.folder for job in sweep.jobs]
    try:
        while live := live_jobs(folders, _patiently(cluster.queue)):
            _patiently(partial(cluster.release_held_back, live.values()))
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        print(f"not waiting any longer; the jobs go on, see {_look(sweep)}")
        raise


def _patiently(ask: Callable[[], _Answer]) -> _Answer:
    """The answer of SLURM, asked again for half an hour while there is none.

    Raises:
        RunError: there is still none.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    pause = 1.0
    while True:
        try:
            return ask()
        except RunError:
            if time.monotonic() >= end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def show_end(sweep: Sweep) -> None:
    """Show what became of the runs; raises `RunError` if some are not done."""
    states = read_states({job.folder.path: job.varies for job in sweep.jobs})
    show(table(sweep.name, states))
    missing = [state for state in states if state.state != State.DONE]
    if missing:
        lines = "; ".join(f"{state.run} {state.state} {state.error}" for state in missing[:3])
        raise RunError(f"{len(missing)} of {len(states)} runs are not done: {lines}")


@contextmanager
def _restarted_if_taken(jobs: Sequence[Job]) -> Iterator[set[Path]]:
    """Move away what runs with train.restart=true have produced; put it back if SLURM refuses
    them.

    Yields:
        The folders of runs that SLURM has taken, to be filled.
    """
    taken: set[Path] = set()
    set_aside = []
    try:
        for job in jobs:
            if job.config.train.restart:
                with job.folder.lock():
                    set_run_aside(job.folder)
                set_aside.append(job.folder)
        yield taken
    finally:
        for folder in set_aside:
            if folder.path in taken:
                folder.forget_aside()
            else:
                folder.put_back()


def _begin_anew(job: Job, fingerprint: str) -> None:
    """Make its folder ready to be submitted."""
    with job.folder.lock():
        clear(job.folder)
    job.folder.freeze(to_yaml(job.config), fingerprint)


def _shortened(config: RunConfig, output_dir: Path) -> RunConfig:
    """The same run, but over within minutes: one evaluation and one checkpoint."""
    steps = min(_CANARY_STEPS, config.train.steps)
    train = dataclasses.replace(
        config.train, steps=steps, eval_every=steps, checkpoint_every=steps, log_every=steps
    )
    cooldown = min(config.optimizer.cooldown_steps, steps)
    return dataclasses.replace(
        config,
        train=train,
        optimizer=dataclasses.replace(config.optimizer, cooldown_steps=cooldown),
        tracking=dataclasses.replace(config.tracking, mode="disabled"),
        output_dir=str(output_dir),
    )
