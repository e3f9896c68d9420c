"""What a sweep makes of the runs that it asks for."""

from __future__ import annotations

import pytest

from adaspan.runs.identity import run_id
from adaspan.sweep.plan import Sweep, plan
from tests.conftest import compose_run


def sweep_of(*jobs: list[str]) -> Sweep:
    return plan(jobs, lambda overrides: compose_run(*overrides), "limits")


def test_wandb_shows_the_runs_together_under_what_varies() -> None:
    jobs = [["model=small", "span=fixed", f"span.limit={limit}"] for limit in (256, 512)]
    sweep = sweep_of(*jobs)
    assert sweep.name.startswith("limits-")
    for job, limit in zip(sweep.jobs, (256, 512), strict=True):
        assert job.config.tracking.group == sweep.name
        assert job.config.tracking.name == f"span.limit={limit} · {run_id(job.config)[:6]}"


def test_what_varies_is_what_the_runs_differ_in() -> None:
    jobs = [["train.seed=1", "span.limit=8"], ["train.seed=2", "span.limit=8"]]
    assert [job.varies for job in sweep_of(*jobs).jobs] == [
        {"train.seed": "1"},
        {"train.seed": "2"},
    ]


@pytest.mark.parametrize("limits", [(8, 8), (8, 16), (8,)])
def test_a_search_keeps_all_that_it_varies_also_where_the_trials_of_now_agree(
    limits: tuple[int, ...],
) -> None:
    trials = [
        [f"span.limit={limit}", f"train.seed={i}", "model=small"] for i, limit in enumerate(limits)
    ]
    sweep = plan(trials, lambda overrides: compose_run(*overrides), "limits", "abc", ["model"])
    assert [job.varies for job in sweep.jobs] == [
        {"span.limit": str(limit), "train.seed": str(i)} for i, limit in enumerate(limits)
    ]
    assert sweep.name == "limits-abc"


def test_starting_over_and_accepting_are_no_part_of_what_a_sweep_is() -> None:
    jobs = [["train.seed=1"], ["train.seed=2"]]
    for word in ("train.restart=true", "train.accept_other_code=true"):
        assert sweep_of(*([*job, word] for job in jobs)).name == sweep_of(*jobs).name


def test_what_the_user_calls_them_stays() -> None:
    given = ["tracking.group=mine", "tracking.name=this"]
    sweep = sweep_of(["train.seed=1", *given], ["train.seed=2", *given])
    assert {job.config.tracking.group for job in sweep.jobs} == {"mine"}
    assert {job.config.tracking.name for job in sweep.jobs} == {"this"}


def test_a_name_is_no_longer_than_wandb_takes_and_keeps_its_identity() -> None:
    folders = [f"data_dir=/{letter * 150}" for letter in "ab"]
    sweep = sweep_of(*([folder] for folder in folders))
    (job,) = sweep.jobs  # where data are does not make another run
    name = job.config.tracking.name or ""
    assert len(name) == 128
    assert name.endswith(f" · {run_id(job.config)[:6]}")
