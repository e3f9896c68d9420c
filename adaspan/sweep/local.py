"""Train the runs of a sweep on this machine, so many at once, a process each."""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from adaspan.config.resolved import to_yaml
from adaspan.console import Console
from adaspan.errors import RunError, UserError
from adaspan.runs import figures
from adaspan.runs.command import sets_threads, started, threads
from adaspan.runs.failures import State
from adaspan.signals import stop_request
from adaspan.status.state import read_states
from adaspan.status.table import show, table
from adaspan.sweep.plan import Job, Sweep
from adaspan.tracking.files import clear

_POLL_SECONDS = 0.2


def train_all(
    sweep: Sweep,
    fingerprints: Mapping[str, str],
    program: Path,
    processes: int | None,
    fail_fast: bool,
) -> None:
    """Train the runs that are not done, and show the state of every run.

    One failure does not end the others. A signal is passed on: every run saves and leaves. What
    another process trains already is left alone.

    Args:
        sweep: the runs.
        fingerprints: of their data, by the runs' names.
        program: which trains one run; see `program_of`.
        processes: runs at once; None: one per GPU, or one at a time. Of several at once each gets a
            GPU in turn, unless some name their device, and its share of the cores.
        fail_fast: start no more after the first failure.

    Raises:
        RunError: some runs failed.
        SystemExit: a signal stopped the sweep; 128 + the signal's number.
    """
    console = Console(highlight=False, soft_wrap=True)
    # Runs that name their device keep it.
    gpus = _gpus() if all(job.config.train.device in ("auto", "cuda") for job in sweep.jobs) else []
    slots = deque(range(processes or max(1, len(gpus))))
    # The shortest first: longer forms of the same run go on where it ends.
    by_length = sorted(sweep.jobs, key=lambda job: job.config.train.steps)
    waiting = deque(job for job in by_length if job.wants_training())
    console.print(
        f"sweep   {sweep.name} · {len(sweep.jobs)} runs, "
        f"{len(sweep.jobs) - len(waiting)} done already · {len(slots)} at once",
        markup=False,
    )
    environment = _share_of_cores(len(slots))
    running: list[_Running] = []
    failed: list[Job] = []
    with stop_request() as stop, _none_left_behind(running):

        def goes_on() -> bool:
            return bool(waiting) and not stop.signal and not (failed and fail_fast)

        while running or goes_on():
            if stop.signal:
                for one in running:
                    one.pass_on(stop.signal)
            while slots and goes_on():
                job = waiting.popleft()
                if job.folder.is_locked():
                    console.print(_elsewhere(job), markup=False)
                    continue
                slot = slots.popleft()
                own_gpu = {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {}
                data = fingerprints[job.name]
                running.append(_start(job, data, program, slot, {**environment, **own_gpu}))
                console.print(f"start   {job} · {job.folder.path}", markup=False)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                slots.append(one.slot)
                console.print(_end_of(one), markup=False)
                if one.process.returncode and not stop.signal and not one.is_elsewhere():
                    failed.append(one.job)
            time.sleep(_POLL_SECONDS)
    show(table(sweep.name, read_states({job.folder.path: job.varies for job in sweep.jobs})))
    if stop.signal:
        raise SystemExit(128 + stop.signal)
    if failed:
        raise RunError(
            f"{len(failed)} of {len(sweep.jobs)} runs failed; the same command tries them again"
        )


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    slot: int
    passed_on: int = 0  # the last signal

    def pass_on(self, signal: int) -> None:
        if self.passed_on != signal:
            self.process.send_signal(signal)
            self.passed_on = signal

    def is_elsewhere(self) -> bool:
        """Whether it ended because another process was faster to begin."""
        return self.process.returncode == UserError.exit_code and self.job.folder.is_locked()


def _start(
    job: Job, fingerprint: str, program: Path, slot: int, environment: dict[str, str]
) -> _Running:
    folder = job.folder
    if job.config.train.restart:
        with folder.lock():
            clear(folder)
    folder.freeze(to_yaml(job.config, for_one_start=True), fingerprint)
    with folder.output.open("ab") as output:
        process = subprocess.Popen(
            started(folder.path, program),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C reaches it through us, once
        )
    return _Running(job, process, slot)


@contextmanager
def _none_left_behind(running: list[_Running]) -> Iterator[None]:
    """Have the runs save and leave if this process fails."""
    try:
        yield
    finally:
        for one in running:
            one.pass_on(Signals.SIGTERM)
        for one in running:
            one.process.wait()


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch  # takes seconds: not for a preview, nor for runs that name their device

    count = torch.cuda.device_count()
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return allowed.split(",")[:count] if allowed else [str(index) for index in range(count)]


def _share_of_cores(processes: int) -> dict[str, str]:
    """Threads of each of several processes; more threads than cores would wait for one another.

    A single one is left alone, so that it computes exactly what it would outside a sweep.
    """
    if processes == 1 or sets_threads():
        return {}
    import torch

    return threads(max(1, torch.get_num_threads() // processes))


def _end_of(one: _Running) -> str:
    if one.process.returncode == 0:
        return f"done    {one.job} · valid {figures.VALID.told(one.job.folder.rows()[-1])}"
    if one.is_elsewhere():
        return _elsewhere(one.job)
    if one.job.folder.state == State.RESUMABLE:
        return f"stopped {one.job} · step {one.job.folder.status()['step']}, all saved"
    return f"failed  {one.job} · {one.job.folder.last_words()} · {one.job.folder.output}"


def _elsewhere(job: Job) -> str:
    return f"leave   {job} · another process trains it · {job.folder.path}"
