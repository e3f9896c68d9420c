"""What is known of a run, from its folder first and from SLURM second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaspan.config.frozen import read_values
from adaspan.errors import RunError
from adaspan.runs import figures
from adaspan.runs.figures import Row
from adaspan.runs.folder import RunFolder
from adaspan.slurm import cluster
from adaspan.slurm.lookup import job_logs, live_jobs, printed, ran_out_of_memory

# How SLURM calls the ends that a run itself can say nothing of.
_SLURM_ENDS = {
    "TIMEOUT": "time-out",
    "DEADLINE": "time-out",
    "OUT_OF_MEMORY": "out of memory",
    "NODE_FAIL": "node",
    "BOOT_FAIL": "node",
    "CANCELLED": "cancelled",
}


@dataclass(frozen=True)
class RunState:
    """One line of the table."""

    run: str
    varies: dict[str, str]
    state: str  # waiting, queued, running, done, failed, resumable, cancelled or lost
    slurm: str = ""  # what SLURM says of its job; "no answer" where there is none, or none answers
    step: int = 0
    steps: int = 0
    bpc: float | None = None  # on all of valid if the run is done, else the last quick look
    test_bpc: float | None = None
    span_mean: float | None = None
    span_max: float | None = None
    macs_per_token: float | None = None  # as the paper counts
    seconds_left: float | None = None  # at the present speed
    error: str = ""  # class and last line
    log: str = ""  # where there is more of it


@dataclass(frozen=True)
class Standing:
    """What has become of a run; the fields are those of `RunState`."""

    state: str
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
    submitted = [folder.job()["id"] for folder in folders if folder.job()]
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
    written: str = folder.status().get("state", "waiting")
    known = written not in ("waiting", "running") or not folder.job()
    return Standing(written, "" if known else "no answer", _error_of(folder.status()))


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
    final = last if figures.is_final(last) else {}
    quick = [row[figures.QUICK_BPC.key] for row in rows if figures.QUICK_BPC.key in row]
    steps = values["train"]["steps"] if values else 0
    return RunState(
        run=folder.path.name,
        varies=varies,
        state=standing.state,
        slurm=standing.slurm,
        step=folder.status().get("step", 0),
        steps=steps,
        bpc=final.get(figures.VALID_BPC.key, quick[-1] if quick else None),
        test_bpc=final.get(figures.TEST_BPC.key),
        span_mean=last.get(figures.SPAN_MEAN.key),
        span_max=last.get(figures.SPAN_MAX.key),
        macs_per_token=last.get(figures.PAPER_MACS.key),
        seconds_left=_seconds_left(rows, steps) if standing.state == "running" else None,
        error=standing.error,
        log=str([*logs_of(folder), folder.log][0]),
    )


def logs_of(folder: RunFolder) -> list[Path]:
    """Where there is something to read of a run: what it printed itself, or else its last job, or
    the canary that it waited for.
    """
    written = [path for path in (folder.output, folder.log) if path.exists()][:1]
    if _last_job_never_began(folder) or not written:
        canary = folder.job().get("canary")
        of_canary = logs_of(RunFolder(Path(canary))) if canary else []
        return job_logs(folder) or written or of_canary
    return written


def _state(
    folder: RunFolder, job: cluster.Queued | None, ended: Mapping[str, str]
) -> tuple[str, str]:
    """State and error."""
    status = folder.status()
    written: str = status.get("state", "waiting")
    if written == "done":
        return written, ""
    if job:
        return ("running" if job.state == "RUNNING" and status else "queued"), ""
    if folder.is_held():
        return "running", ""
    job_id = folder.job().get("id")
    end = _SLURM_ENDS.get(ended.get(job_id, ""), "") if job_id else ""
    if _last_job_never_began(folder) and (last_line := printed(folder)):
        return "lost", _out_of_memory(folder) or f"{end or 'code'}: {last_line}"
    if written not in ("waiting", "running"):
        return written, _error_of(status)
    if job_id is None:
        return (written, "") if written == "waiting" else ("lost", "killed without warning")
    if folder.job_has_started():
        return "lost", _out_of_memory(folder) or f"{end or 'node'}: ended without a word"
    return "cancelled", _canary_failed(folder) or "taken out of the queue before it started"


def _out_of_memory(folder: RunFolder) -> str:
    if not ran_out_of_memory(folder):
        return ""
    return "out of memory: killed for it; hydra.launcher.mem asks for more"


def _last_job_never_began(folder: RunFolder) -> bool:
    """Whether the run's last job did not get as far as the run, nor was that trained since."""
    if not folder.job() or folder.job_has_started():
        return False
    last_trained = folder.status().get("time", 0.0)
    return all(log.stat().st_mtime > last_trained for log in job_logs(folder))


def _canary_failed(folder: RunFolder) -> str:
    """Why the run that went first failed; empty if none did."""
    canary = folder.job().get("canary")
    state, error = _state(RunFolder(Path(canary)), None, {}) if canary else ("", "")
    return f"the canary failed: {error}" if state in ("failed", "lost") else ""


def _error_of(status: Mapping[str, Any]) -> str:
    """Class and last line of a failure."""
    return f"{status['error']}: {status['message']}" if status.get("state") == "failed" else ""


def _seconds_left(rows: Sequence[Mapping[str, Any]], steps: int) -> float | None:
    trained = [row for row in rows if figures.TOKENS_PER_SECOND.key in row]
    if not trained:
        return None
    last = trained[-1]
    tokens_a_step = last[figures.TOKENS.key] / last["step"]
    tokens_left = (steps - last["step"]) * tokens_a_step
    return float(tokens_left / last[figures.TOKENS_PER_SECOND.key])
