"""The runs that a sweep asks for: composed, checked and written down before the first starts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from adaspan.config.extensions import extension_errors_as_one_line
from adaspan.config.keys import OF_ONE_START
from adaspan.config.kinds.data import corpus_of
from adaspan.config.schema import RunConfig
from adaspan.config.validate import NAME_LENGTH
from adaspan.errors import UserError
from adaspan.files import write_json
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import name_in_sweep, run_name


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    config: RunConfig
    varies: dict[str, str]  # the values in which it differs from others of the sweep

    @cached_property  # the text, which is a part of it, may be edited while the sweep goes on
    def name(self) -> str:
        return run_name(self.config)

    @property
    def folder(self) -> RunFolder:
        return RunFolder(Path(self.config.output_dir) / self.name)

    def __str__(self) -> str:
        return _words(self.varies) or self.name

    def wants_training(self) -> bool:
        """Whether it is not done, or is to be started over."""
        return self.config.train.restart or self.folder.state != State.DONE


@dataclass(frozen=True)
class Sweep:
    """What one command asks for."""

    name: str
    jobs: list[Job]  # each run once
    requested: list[Job]  # what was asked for, in its order: two may be the same run

    @property
    def output_dir(self) -> Path:
        return Path(self.jobs[0].config.output_dir)

    @property
    def folder(self) -> Path:
        return self.output_dir / "sweeps" / self.name


def plan(
    overrides: Sequence[Sequence[str]],
    compose: Callable[[Sequence[str]], RunConfig],
    kind: str,
    identity: str | None = None,
    fixed: Collection[str] = (),
) -> Sweep:
    """Compose and check every job.

    Args:
        overrides: of each job, as `key=value`.
        compose: makes the configuration; raises `UserError`.
        kind: the sweep file, or what else names the sweep.
        identity: the rest of its name, if the runs to come are not known yet.
        fixed: then, keys that no run to come has another value of; all others vary, also where
            those of now agree.

    Raises:
        UserError: all mistakes of all jobs, a line each; or there are no jobs.
    """
    if not overrides:
        raise UserError("-m: there is no run to train: a key has no values")
    values = [dict(override.split("=", 1) for override in job) for job in overrides]
    given_keys = dict.fromkeys(key for job in values for key in job)
    if identity:
        varying = [key for key in given_keys if key not in fixed]
    else:
        varying = [key for key in given_keys if len({job.get(key) for job in values}) > 1]
    requested = []
    mistakes: dict[str, list[str]] = {}
    for given, of_job in zip(overrides, values, strict=True):
        varies = {key: of_job[key] for key in varying if key in of_job}
        try:
            requested.append(Job(compose(given), varies))
        except UserError as error:
            for line in str(error).splitlines():
                mistakes.setdefault(line, []).append(_words(varies))
    _refuse(mistakes, len(overrides))
    name = f"{kind}-{identity or _identity(values, varying)}"
    requested = [_tracked_in(job, name) for job in requested]
    jobs = {job.name: job for job in reversed(requested)}
    return Sweep(name, list(reversed(jobs.values())), requested)


def _tracked_in(job: Job, sweep: str) -> Job:
    """The same run, which W&B shows under the sweep and what varies, unless the user named it."""
    given = job.config.tracking
    own_name = name_in_sweep(job.config, _words(job.varies)) if job.varies else None
    tracking = dataclasses.replace(
        given, group=given.group or sweep[:NAME_LENGTH], name=given.name or own_name
    )
    return Job(dataclasses.replace(job.config, tracking=tracking), job.varies)


def prepare_data(sweep: Sweep) -> dict[str, str]:
    """Prepare every text of the sweep, once, and check that it suffices.

    Returns:
        The fingerprint of the data of each run, by the run's name.

    Raises:
        UserError: all texts that are missing or too short, a line each.
        ExtensionError: a user's own code cannot read one.
    """
    mistakes: dict[str, list[str]] = {}
    fingerprints = {}
    for job in sweep.jobs:
        data_dir, train = Path(job.config.data_dir), job.config.train
        try:
            with extension_errors_as_one_line():
                corpus = corpus_of(job.config.data, data_dir)
            corpus.require_blocks(job.config.data.typed, train.batch_size, train.block_size)
            if run_name(job.config) != job.name:
                typed = job.config.data.typed
                raise UserError(f"{typed}: has changed while it was read; type the command again")
            fingerprints[job.name] = corpus.fingerprint
        except UserError as error:
            mistakes.setdefault(str(error), []).append(_words(job.varies))
    _refuse(mistakes, len(sweep.jobs))
    return fingerprints


def write_manifest(sweep: Sweep, typed: Sequence[str] = ()) -> None:
    """Add the runs to `runs/sweeps/<name>/manifest.json`.

    Args:
        sweep: the runs.
        typed: the words that ask for them; they are kept if they ask for all that there are.
    """
    path = sweep.folder / "manifest.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(".lock")):
        runs = json.loads(path.read_text())["runs"] if path.exists() else {}
        runs |= {job.name: job.varies for job in sweep.jobs}
        asks_for_all = runs.keys() == {job.name for job in sweep.jobs}
        words = list(typed) if asks_for_all else []
        write_json(path, {"name": sweep.name, "typed": words, "runs": runs})


def _refuse(mistakes: dict[str, list[str]], jobs: int) -> None:
    """Raise all mistakes, each with the jobs that make it unless all do."""
    lines = []
    for mistake, of_jobs in mistakes.items():
        more = f" and {len(of_jobs) - 3} more" if len(of_jobs) > 3 else ""
        where = "" if len(of_jobs) == jobs else f" ({'; '.join(of_jobs[:3])}{more})"
        lines.append(mistake + where)
    if lines:
        raise UserError("\n".join(lines))


def _words(varies: dict[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in varies.items())


def _identity(values: list[dict[str, str]], varying: list[str]) -> str:
    """The same when values or seeds are added, or runs are started over: what is fixed, and which
    keys vary.
    """
    left_out = (*varying, *OF_ONE_START)
    fixed = sorted({f"{k}={v}" for job in values for k, v in job.items() if k not in left_out})
    return hashlib.sha256(json.dumps([fixed, sorted(varying)]).encode()).hexdigest()[:6]
