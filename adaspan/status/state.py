"""What is known of a run, from its folder first and from SLURM second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaspan.config.resolved import read_values
from adaspan.errors import RunError
from adaspan.runs import figures
from adaspan.runs.failures import SLURM_ENDS, Failure, FailureClass, State
from adaspan.runs.figures import Row
from adaspan.runs.figures.own import is_built_in
from adaspan.runs.figures.rows import is_final, measure_of
from adaspan.runs.folder import RunFolder
from adaspan.slurm import cluster
from adaspan.slurm.job_record import RunJob, has_started, job_of
from adaspan.slurm.lookup import job_logs, live_jobs, printed, ran_out_of_memory

# States of a run that has not written down how it ended.
_BEFORE_THE_END = (State.WAITING, State.RUNNING)


@dataclass(frozen=True)
class RunState:
    """One line of the table."""

    run: str
    varies: dict[str, str]
    state: State
    slurm: str = ""  # what SLURM says of its job; "no answer" where there is none, or none answers
    step: int = 0
    steps: int = 0
    measure: str = ""  # of the two scores: bpb, bpc or ppl; empty before there is one
    valid: float | None = None  # on all of valid if the run is done, else the last quick one
    test: float | None = None
    span_mean: float | None = None
    span_max: float | None = None
    macs_per_token: float | None = None  # as the paper counts
    own: dict[str, float] = field(default_factory=dict)  # figures of a user's own, by their keys
    seconds_left: float | None = None  # at the present speed
    continues: str = ""  # identity of the run whose updates it has taken over, and up to where
    code: str = ""  # digest of the code that trained it; of several, with + between
    error: str = ""  # class and last line
    log: str = ""  # where there is more of it


@dataclass(frozen=True)
class Standing:
    """What has become of a run; the fields are those of `RunState`."""

    state: State
    slurm: str
    error: str


def read_states(runs: Mapping[Path, Mapping[str, str]]) -> list[RunState]:
    """The states of runs.

    Args:
        runs: their folders, and the values in which each differs from the others.
    """
    folders = [RunFolder(path) for path in runs]
    return [
        describe(folder, dict(runs[folder.path]), standing, read_values(folder.path), folder.rows())
        for folder, standing in zip(folders, standings(folders), strict=True)
    ]


def standings(folders: Sequence[RunFolder]) -> list[Standing]:
    """What has become of runs."""
    submitted = [job.id for folder in folders if (job := job_of(folder))]
    try:
        queue = cluster.queue() if submitted else {}
    except RunError:  # a copy on somebody's laptop, or SLURM is restarting
        return [_of_copy(folder) for folder in folders]
    live = live_jobs(folders, queue)
    ended = cluster.last_states([id for id in submitted if id not in queue])
    return [_standing(folder, live.get(folder.path), ended) for folder in folders]


def _standing(folder: RunFolder, job: cluster.Queued | None, ended: Mapping[str, str]) -> Standing:
    state, error = _state(folder, job, ended)
    return Standing(state, _in_queue(job) if job else "", error)


def _in_queue(job: cluster.Queued) -> str:
    return f"{job.state} ({job.reason})" if job.state == "PENDING" else job.state


def _of_copy(folder: RunFolder) -> Standing:
    known = folder.state not in _BEFORE_THE_END or not job_of(folder)
    return Standing(folder.state, "" if known else "no answer", str(folder.failure() or ""))


def describe(
    folder: RunFolder,
    varies: dict[str, str],
    standing: Standing,
    values: Mapping[str, Any],
    rows: Sequence[Row],
) -> RunState:
    """One line of the table.

    Args:
        folder: of the run.
        varies: the values in which it differs from others.
        standing: what has become of it.
        values: of its configuration, nested; empty if it has none yet.
        rows: its metrics.
    """
    last = rows[-1] if rows else {}
    final = last if is_final(last) else {}
    measure = measure_of(rows)
    quick = [score for row in rows if (score := figures.QUICK.value(row)) is not None]
    steps = values["train"]["steps"] if values else 0
    return RunState(
        run=folder.path.name,
        varies=varies,
        state=standing.state,
        slurm=standing.slurm,
        step=folder.status().get("step", 0),
        steps=steps,
        measure=measure.name if measure else "",
        valid=figures.VALID.value(final) if final else quick[-1] if quick else None,
        test=figures.TEST.value(final),
        span_mean=last.get(figures.SPAN_MEAN.key),
        span_max=last.get(figures.SPAN_MAX.key),
        macs_per_token=last.get(figures.PAPER_MACS.key),
        own={key: value for key, value in last.items() if not is_built_in(key)},
        seconds_left=_seconds_left(rows, steps) if standing.state == State.RUNNING else None,
        continues=_continues(folder),
        code="+".join(folder.source.codes()),
        error=standing.error,
        log=str([*logs_of(folder), folder.log][0]),
    )


def _continues(folder: RunFolder) -> str:
    taken_over = folder.source.continues()
    return f"{taken_over[0].rpartition('-')[2]} from step {taken_over[1]}" if taken_over else ""


def logs_of(folder: RunFolder) -> list[Path]:
    """Where there is something to read of a run: what it printed itself, or else its last job, or
    the canary that it waited for.
    """
    written = [path for path in (folder.output, folder.log) if path.exists()][:1]
    if _last_job_never_began(folder) or not written:
        job = job_of(folder)
        of_canary = logs_of(RunFolder(job.canary)) if job and job.canary else []
        return job_logs(folder) or written or of_canary
    return written


def _state(
    folder: RunFolder, job: cluster.Queued | None, ended: Mapping[str, str]
) -> tuple[State, str]:
    """State and error."""
    written = folder.state
    if written == State.DONE:
        return written, ""
    if job:
        trains = job.state == "RUNNING" and folder.status()
        return State.RUNNING if trains else State.QUEUED, ""
    if folder.is_locked():
        return State.RUNNING, ""
    last_job = job_of(folder)
    end = SLURM_ENDS.get(ended.get(last_job.id, "")) if last_job else None
    if _last_job_never_began(folder) and (last_line := printed(folder)):
        return State.LOST, _loss(folder, end or FailureClass.CODE, last_line)
    if written not in _BEFORE_THE_END:
        return written, str(folder.failure() or "")
    if not last_job:
        waits = written == State.WAITING
        return (written, "") if waits else (State.LOST, "killed without warning")
    if has_started(folder, last_job):
        return State.LOST, _loss(folder, end or FailureClass.NODE, "ended without a message")
    never = _canary_failed(last_job) or "taken out of the queue before it started"
    return State.CANCELLED, never


def _loss(folder: RunFolder, kind: FailureClass, message: str) -> str:
    """Why a run is lost, unless its memory is why."""
    if ran_out_of_memory(folder):
        kind, message = (
            FailureClass.OUT_OF_MEMORY,
            "killed for it; hydra.launcher.mem asks for more",
        )
    return str(Failure(kind, message))


def _last_job_never_began(folder: RunFolder) -> bool:
    """Whether the run's last job did not get as far as the run, nor was that trained since."""
    job = job_of(folder)
    if not job or has_started(folder, job):
        return False
    last_trained = folder.status().get("time", 0.0)
    return all(log.stat().st_mtime > last_trained for log in job_logs(folder))


def _canary_failed(job: RunJob) -> str:
    """Why the run that went first failed; empty if none did."""
    if not job.canary:
        return ""
    state, error = _state(RunFolder(job.canary), None, {})
    return f"the canary failed: {error}" if state in (State.FAILED, State.LOST) else ""


def _seconds_left(rows: Sequence[Mapping[str, Any]], steps: int) -> float | None:
    trained = [row for row in rows if figures.TOKENS_PER_SECOND.key in row]
    if not trained:
        return None
    last = trained[-1]
    tokens_a_step = last[figures.TOKENS.key] / last["step"]
    tokens_left = (steps - last["step"]) * tokens_a_step
    return float(tokens_left / last[figures.TOKENS_PER_SECOND.key])
