"""One run, one identity: the same for what gives the same result, and for nothing else."""

from pathlib import Path

import pytest

from adaspan.config.schema import RunConfig
from adaspan.runs.identity import name_in_sweep, run_id, run_name, tracked_name
from tests.conftest import compose_run


@pytest.fixture(scope="module")
def default() -> RunConfig:
    return compose_run()


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    [
        "tracking=disabled",
        "tracking.project=other",
        "tracking.name=other",
        "output_dir=/elsewhere",
        "data_dir=/elsewhere",
        "train.device=cpu",
        "train.log_every=3",
        "train.checkpoint_every=3",
        "train.graph=false",
        "train.profile=true",
        "train.restart=true",
    ],
)
def test_what_does_not_change_the_result_does_not_change_the_identity(
    override: str, default: RunConfig
) -> None:
    assert run_id(compose_run(override)) == run_id(default)


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
def test_what_changes_the_result_changes_the_identity(override: str, default: RunConfig) -> None:
    assert run_id(compose_run(override)) != run_id(default)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "identity"),
    [
        ((), "d871463890"),
        (("span=fixed", "optimizer=adam", "train.seed=2"), "c059694eca"),
        (("span=dynamic", "data=enwik8", "optimizer=sgd"), "1c962eea71"),
    ],
)
def test_runs_are_found_again_after_an_upgrade(overrides: tuple[str, ...], identity: str) -> None:
    assert run_id(compose_run(*overrides)) == identity


def test_writing_a_default_out_changes_nothing(default: RunConfig) -> None:
    assert run_id(compose_run("model=tiny", "model.layers=4")) == run_id(default)


def test_the_name_can_be_read_and_ends_in_the_identity() -> None:
    run = compose_run("span.limit=77")
    assert run_name(run) == f"stdlib-4x128-adaptive77-{run_id(run)}"


@pytest.mark.slow
def test_a_repetition_does_not_go_by_the_name_that_a_sweep_gave_the_run_before_it() -> None:
    name = name_in_sweep(compose_run("train.seed=1"), "train.seed=1")
    assert tracked_name(name, run_id(compose_run("train.seed=1"))) == name
    assert tracked_name(name, run_id(compose_run("train.seed=2"))) is None
    assert tracked_name("mine", run_id(compose_run("train.seed=2"))) == "mine"


def text_run(path: Path, *overrides: str) -> RunConfig:
    return compose_run("data=text", f"data.path={path}", f"output_dir={path.parent}", *overrides)


@pytest.mark.slow
def test_a_text_is_known_by_its_content(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "text").write_text("one and two\n" * 9)
    here, there = (text_run(tmp_path / folder / "text") for folder in ("a", "b"))
    assert run_name(here) == run_name(there)
    assert run_id(text_run(tmp_path / "a" / "text", "data.symbols=characters")) != run_id(here)
    (tmp_path / "b" / "text").write_text("one and six\n" * 9)
    assert run_id(there) != run_id(here)
    own_splits = []
    for split in ("train", "valid", "test"):
        (tmp_path / split).write_text(f"one and two, {split}\n" * 9)
        own_splits.append(f"data.{split}={tmp_path / split}")
    assert run_id(compose_run("data=text", *own_splits)) != run_id(here)


@pytest.mark.slow
def test_a_run_that_was_begun_when_paths_counted_goes_on_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("one and two\n" * 9)
    run = text_run(tmp_path / "text")
    present = run_name(run)
    (tmp_path / "text").rename(tmp_path / "gone")
    before = run_name(run)
    assert before != present, "a text that is not here is known by its path"
    (tmp_path / "gone").rename(tmp_path / "text")
    (tmp_path / before).mkdir()
    assert run_name(run) == run_name(text_run(tmp_path / "text", "data.encoding=raw")) == before
    (tmp_path / present).mkdir()
    assert run_name(run) == present
