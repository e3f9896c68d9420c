"""The code of a sweep: frozen before its first run starts, and the same for all that it trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adaspan.errors import UserError
from adaspan.places import CODE
from adaspan.runs.code import snapshot
from adaspan.runs.code.fingerprint import code_of_run, in_words
from adaspan.runs.extensions import extension_files
from adaspan.runs.failures import State
from adaspan.runs.other_code import changed_since, files_changed_since, files_other_in
from adaspan.sweep.plan import Job, Sweep

_KEPT = "another output_dir keeps both"
_ANEW = f"train.restart=true trains all anew, {_KEPT}"
# What a run of other code may be found as, of one and of several, and what can be done then.
_TRAINED, _BEGUN, _UNDER_WAY = "trained", "begun", "under way"
_WORDS = {
    _TRAINED: ("was trained by", "were trained by"),
    _BEGUN: ("was begun by", "were begun by"),
    _UNDER_WAY: ("is under way with", "are under way with"),
}
_WAYS_OUT = {
    _TRAINED: f"train.accept_other_code=true takes them as they are, {_ANEW}",
    _BEGUN: f"train.accept_other_code=true goes on with this code, {_ANEW}",
    _UNDER_WAY: f"train.accept_other_code=true takes them as they will be, {_KEPT}; or stop them "
    "first",
}


def frozen_code(sweep: Sweep) -> Path:
    """A copy of the code, below the runs: what is edited from now on changes no run."""
    return snapshot.take(CODE, sweep.output_dir / "code", extension_files())


def require_same_code(sweep: Sweep, under_way: Mapping[str, Path]) -> None:
    """Refuse runs that other code has trained, unless they are accepted or started over.

    Args:
        sweep: the runs.
        under_way: the frozen code of runs that have a job, by their names.

    Raises:
        UserError: such runs: a line for those that are done, one for those that would go on, one
            for those that are trained elsewhere.
    """
    if lines := other_code(sweep, under_way):
        raise UserError("\n".join(lines))


def other_code(sweep: Sweep, under_way: Mapping[str, Path]) -> list[str]:
    """What `require_same_code` says."""
    found: dict[str, list[list[str]]] = {what: [] for what in _WAYS_OUT}
    for job in sweep.jobs:
        what, changed = _changes(job, under_way.get(job.name))
        if changed and not job.config.train.accept_other_code:
            found[what].append(changed)
    return [_line(what, runs, len(sweep.jobs)) for what, runs in found.items() if runs]


def _changes(job: Job, frozen: Path | None) -> tuple[str, list[str]]:
    """What a run is found as, and the files that have changed since."""
    code, folder = code_of_run(job.config.extensions), job.folder
    if frozen:
        return _UNDER_WAY, files_other_in(frozen, code)
    if folder.is_locked():
        return _UNDER_WAY, changed_since(folder.source.made_by()[-1:], code)
    if job.config.train.restart:
        return _BEGUN, []
    what = _TRAINED if folder.state == State.DONE else _BEGUN
    return what, files_changed_since(folder, code)


def _line(what: str, runs: list[list[str]], of: int) -> str:
    files = sorted({file for changed in runs for file in changed})
    one, several = _WORDS[what]
    return (
        f"{len(runs)} of {of} runs {one if len(runs) == 1 else several} other code "
        f"({in_words(files)}); {_WAYS_OUT[what]}"
    )
