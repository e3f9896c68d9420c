"""One run, one identity: the same for what gives the same result, and for nothing else."""

import pytest

from adaspan.config.identity import run_id, run_name
from tests.conftest import compose_run


@pytest.mark.parametrize(
    "override",
    [
        "tracking=disabled",
        "tracking.project=other",
        "output_dir=/elsewhere",
        "data_dir=/elsewhere",
        "train.device=cpu",
        "train.log_every=3",
        "train.checkpoint_every=3",
        "train.restart=true",
    ],
)
def test_what_does_not_change_the_result_does_not_change_the_identity(override: str) -> None:
    assert run_id(compose_run(override)) == run_id(compose_run())


@pytest.mark.parametrize(
    "override",
    [
        "train.seed=2",
        "train.steps=1001",
        "train.precision=bfloat16",
        "model.dropout=0.1",
        "span.ramp=31",
        "span=fixed",
        "optimizer.lr=0.08",
        "data=text8",
    ],
)
def test_what_changes_the_result_changes_the_identity(override: str) -> None:
    assert run_id(compose_run(override)) != run_id(compose_run())


def test_writing_a_default_out_changes_nothing() -> None:
    assert run_id(compose_run("model=tiny", "model.layers=4")) == run_id(compose_run())


def test_the_name_can_be_read_and_ends_in_the_identity() -> None:
    run = compose_run("span.limit=77")
    assert run_name(run) == f"stdlib-4x128-adaptive77-{run_id(run)}"
