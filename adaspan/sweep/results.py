"""What a search gets to know of runs that have ended."""

from __future__ import annotations

from collections.abc import Sequence

from adaspan.errors import RunError, UserError
from adaspan.runs.folder import is_final
from adaspan.sweep.jobs import Job

Values = float | tuple[float, ...]


def results(jobs: Sequence[Job], objectives: Sequence[str]) -> list[Values | RunError]:
    """The objectives of every run, as one number or several; for a run that is not done, why.

    Args:
        jobs: the runs.
        objectives: names in the last row of `metrics.jsonl`.

    Raises:
        UserError: none is given, or there is no such name.
    """
    if not objectives:
        raise UserError(
            "hydra.launcher.objectives: a search needs at least one, for example "
            "[final/valid_bpc,flops/paper_macs_per_token]"
        )
    return [_of_one(job, objectives) for job in jobs]


def _of_one(job: Job, objectives: Sequence[str]) -> Values | RunError:
    rows = job.folder.rows()
    if not rows or not is_final(rows[-1]):
        return RunError(f"{job}: is not done")
    for name in objectives:
        if name not in rows[-1]:
            known = ", ".join(key for key in rows[-1] if "/" in key)
            raise UserError(f"hydra.launcher.objectives={name}: no such figure; one of {known}")
    values = tuple(float(rows[-1][name]) for name in objectives)
    return values[0] if len(values) == 1 else values
