"""What a search learns of runs that have ended."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from adaspan.errors import RunError
from adaspan.runs import figures
from adaspan.runs.figures.own import own_keys
from adaspan.runs.figures.rows import is_final
from adaspan.sweep.plan import Job

Values = float | tuple[float, ...]


def objective_mistakes(objectives: Sequence[str] | None) -> Iterator[str]:
    """What is wrong with `hydra.launcher.objectives`, a line each."""
    known = [score.name for score in (figures.VALID, figures.TEST, figures.BEST, figures.LAST)]
    at_the_end = [figure for figure in figures.declared() if "end" in figure.rows]
    known += [figure.key for figure in at_the_end if figure.better != "neither"]
    known += own_keys()
    without_direction = {figure.key for figure in at_the_end} - {*known}
    if objectives == []:
        yield (
            "hydra.launcher.objectives=[]: a search needs at least one, for example "
            f"[{figures.VALID.name},{figures.PAPER_MACS.key}]"
        )
    for key in objectives or ():
        if key not in known:
            in_vain = key in without_direction
            mistake = "neither lower nor higher is better" if in_vain else "no such figure"
            close = difflib.get_close_matches(key, [] if in_vain else known, n=1, cutoff=0.85)
            way_out = f"did you mean {close[0]}?" if close else f"one of {', '.join(known)}"
            yield f"hydra.launcher.objectives={key}: {mistake}; {way_out}"


def results(jobs: Sequence[Job], objectives: Sequence[str] | None) -> list[Values | RunError]:
    """The objectives of every run, as one number or several; for a run without them, why.

    Args:
        jobs: the runs.
        objectives: keys of figures that a run has at its end, or names of scores; None: its score
            on all of valid.
    """
    keys = objectives or [figures.VALID.name]
    return [_of_one(job, keys) for job in jobs]


def _of_one(job: Job, keys: Sequence[str]) -> Values | RunError:
    rows = job.folder.rows()
    if not rows or not is_final(rows[-1]):
        return RunError(f"{job}: is not done")
    values = []
    for key in keys:
        value = _value(rows[-1], key)
        if value is None:
            return RunError(f"{job}: has no {key}; its last row has {', '.join(rows[-1])}")
        values.append(value)
    return values[0] if len(values) == 1 else tuple(values)


def _value(row: figures.Row, key: str) -> float | None:
    """Of a figure, or of a score in the measure that the run has."""
    score = next((score for score in figures.SCORES if score.name == key), None)
    return row.get(key) if score is None else score.value(row)
