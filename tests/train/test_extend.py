"""A longer run continues a shorter one, and ends as if it had been trained in one piece."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adaspan.cli import main
from adaspan.config.kinds.data import corpus_of
from adaspan.errors import DiskError
from adaspan.files import write_json
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import run_name
from adaspan.train.checkpoint import Checkpoints
from adaspan.train.distributed import Processes
from adaspan.train.extend import begin_with_another_run
from adaspan.train.trainer import Trainer
from tests.conftest import TINY, Launch, call, compose_run
from tests.processes import (
    assert_same,
    final_state,
    kill,
    of_other_code,
    rows,
    start,
    status,
    train_here,
    wait_until,
)
from tests.shared import made_once
from tests.tracking.test_run import steps as tracked_steps

Contents = dict[str, tuple[bytes, float]]


@pytest.fixture
def own(tiny: tuple[str, ...]) -> tuple[str, ...]:
    """Overrides of a run that is short enough for every case to be tried."""
    return (
        *tiny,
        "train.steps=10",
        "train.eval_every=5",
        "train.eval_fraction=0.1",
        "train.checkpoint_every=5",
        "train.log_every=2",
    )


def folder_of(*overrides: str) -> Path:
    config = compose_run(*overrides)
    return Path(config.output_dir) / run_name(config)


def contents(folder: Path) -> Contents:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime) for path in files}


def best(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "checkpoints" / "best.pt", weights_only=True)
    return state


def assert_as_in_one_piece(tmp_path: Path, *overrides: str) -> None:
    """All that a run has left, beside a run whose folder has no shorter one."""
    extended = folder_of(*overrides)
    elsewhere = (*overrides, f"output_dir={tmp_path / 'in one piece'}")
    train_here(*elsewhere)
    whole = folder_of(*elsewhere)
    assert rows(extended) == rows(whole)
    assert_same(final_state(extended), final_state(whole))
    assert_same(best(extended), best(whole))
    scores = ("state", "step", "valid_bpb", "test_bpb")
    assert [status(extended)[key] for key in scores] == [status(whole)[key] for key in scores]


EVERY_2 = ("train.checkpoint_every=2",)
PENALTY_AFTER_12 = "span.penalty_after=12"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shorter", "from_step"),
    [
        # A row that a longer run has, less its evaluation; the best weights of before are saved.
        (["train.steps=12", *EVERY_2], 12),
        # The penalty begins where the shorter one ends.
        (["train.steps=12", *EVERY_2, "span=dynamic", "optimizer=adam", PENALTY_AFTER_12], 12),
        # A row that a longer run has not: the checkpoint before.
        (["train.steps=11", "span=budget", "span.target=8", "span.target_after=11"], 10),
        # The cool-down has not begun.
        (["optimizer.cooldown_steps=3", "optimizer.cooldown_factor=0.5"], 5),
    ],
    ids=str,
)
def test_a_longer_run_ends_as_if_it_had_been_trained_in_one_piece(
    own: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shorter: list[str],
    from_step: int,
) -> None:
    if "span=dynamic" in shorter:
        own = tuple(o for o in own if not o.startswith("span.initial_fraction"))
    train_here(*own, *shorter)
    before = contents(folder_of(*own, *shorter))
    longer = (*own, *shorter, "train.steps=16")
    capsys.readouterr()
    train_here(*longer)
    said = capsys.readouterr().out
    assert f"continues {folder_of(*own, *shorter).name} (train.steps=" in said
    assert f" from step {from_step}\n" in said
    assert contents(folder_of(*own, *shorter)) == before
    assert_as_in_one_piece(tmp_path, *longer)


@pytest.mark.slow
def test_an_extended_run_that_is_killed_goes_on_by_itself(
    own: tuple[str, ...], launch: Launch, tmp_path: Path
) -> None:
    own = (*own, "train.eval_every=10")
    train_here(*own)
    shorter = folder_of(*own)
    longer = (*own, "train.steps=40")
    process = start(tmp_path, *longer)
    extended = folder_of(*longer)
    assert wait_until(lambda: RunFolder(extended).status().get("step", 0) > 15, process)
    kill(process)
    shutil.rmtree(shorter)
    end = launch(*longer, "tracking=offline")
    assert end.returncode == 0, end.stderr
    assert "going on from step" in end.stdout
    assert "continues" not in end.stdout
    assert_as_in_one_piece(tmp_path, *longer)
    assert tracked_steps(extended) == [row["step"] for row in rows(extended)][:-1]
    began, *goes_on = RunFolder(extended).source.starts()
    assert (began["of_run"], began["step"]) == (shorter.name, 0)
    assert [("of_run" in entry, entry["step"] > 9) for entry in goes_on] == [(False, True)] * 2


@pytest.mark.slow
def test_status_and_explain_say_what_a_run_continues(
    own: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(*own)
    shorter = folder_of(*own)
    change_source(RunFolder(shorter), threads=7)
    train_here(*own, "train.steps=12")
    assert (
        "its last bits may differ from those of a run in one piece: up to step 10 it had threads 7"
    ) in capsys.readouterr().out
    longer = folder_of(*own, "train.steps=12")
    runs = ("--runs", str(tmp_path / "runs"))
    explained = call(main, "adaspan", "explain", longer.name, *runs, folder=tmp_path).stdout
    assert f"began    after step 10 of {shorter.name}, which it continues\n" in explained
    shown = call(main, "adaspan", "status", "--json", *runs, folder=tmp_path).stdout
    continues = {state["run"]: state["continues"] for state in json.loads(shown)}
    identity = shorter.name.rpartition("-")[2]
    assert continues == {shorter.name: "", longer.name: f"{identity} from step 10"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Overrides of a run that was trained for 10 steps; it has checkpoints of steps 8 and 10."""

    def overrides(root: Path) -> tuple[str, ...]:
        return (
            *TINY,
            "data=text",
            f"data.path={root / 'sums.txt'}",
            f"data_dir={root / 'data'}",
            f"output_dir={root / 'runs'}",
            "train.steps=10",
            "train.eval_every=5",
            "train.checkpoint_every=4",
            "train.log_every=2",
        )

    def make(root: Path) -> None:
        (root / "sums.txt").write_text("1 plus 2 is 3\n" * 300)
        train_here(*overrides(root))

    return overrides(made_once(tmp_path_factory, "shorter", make))


class Begin:
    """A run that is about to begin beside a copy of the trained one."""

    def __init__(self, trained: tuple[str, ...], output_dir: Path) -> None:
        self.other = RunFolder(output_dir / folder_of(*trained).name)
        shutil.copytree(folder_of(*trained), self.other.path)
        self._overrides = (*trained, f"output_dir={output_dir}")

    def __call__(self, *overrides: str) -> str | None:
        """The line with which it opens."""
        config = compose_run(*self._overrides, *overrides)
        corpus = corpus_of(config.data, Path(config.data_dir))
        trainer = Trainer(config, corpus, torch.device("cpu"), Processes())
        self.folder = RunFolder(Path(config.output_dir) / run_name(config))
        return begin_with_another_run(config, self.folder, corpus, trainer)

    @property
    def steps(self) -> list[int]:
        """Those that it has a checkpoint of."""
        return Checkpoints(self.folder.checkpoints).steps()


@pytest.fixture
def begin(trained: tuple[str, ...], tmp_path: Path) -> Begin:
    return Begin(trained, tmp_path / "runs")


def change_checkpoints(other: RunFolder, change: Callable[[dict[str, Any]], object]) -> None:
    for path in other.checkpoints.glob("step_*"):
        state = torch.load(path, weights_only=True)
        change(state)
        torch.save(state, path)


def change_source(other: RunFolder, **values: Any) -> None:
    (start,) = other.source.starts()
    write_json(other.path / "source.json", [{**start, **values}])


def damage(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])


def lose_the_best(other: RunFolder) -> None:
    """Those of step 5, when step 10 has worse."""
    *before, _ = other.rows()
    other.replace_rows(
        [{**row, **({"valid/bpb": 9.0} if row["step"] == 10 else {})} for row in before]
    )
    (other.checkpoints / "step_00000008.pt").unlink()


REFUSED: dict[str, tuple[list[str], Callable[[RunFolder], object], str]] = {
    "a shorter one": (
        ["train.steps=4"],
        lambda other: None,
        "its first checkpoint is of step 8, but this run ends at step 4",
    ),
    "an early cool-down": (
        ["train.steps=20", "optimizer.cooldown_steps=14"],
        lambda other: None,
        "its first checkpoint is of step 8, but this run cools down from step 6 on",
    ),
    "an evaluation at the end": (
        ["train.steps=8"],
        lambda other: None,
        "at step 8 it was not evaluated; this run, which ends there, is",
    ),
    "no checkpoint": (
        ["train.steps=12"],
        lambda other: shutil.rmtree(other.checkpoints),
        "it has no checkpoint",
    ),
    "other data": (
        ["train.steps=12"],
        lambda other: change_source(other, data_sha256="0"),
        "at step 10 and 8 it has learned from other data",
    ),
    "other code": (
        ["train.steps=12"],
        of_other_code,
        "at step 10 and 8 it was trained by other code (adaspan/nn/span/learned.py differs); "
        "train.accept_other_code=true takes it",
    ),
    "another precision": (
        ["train.steps=12"],
        lambda other: change_checkpoints(other, lambda state: state.update(precision="torch.half")),
        "at step 10 and 8 it was trained in half, not in float32",
    ),
    "an older version": (
        ["train.steps=12"],
        lambda other: change_checkpoints(other, lambda state: state.pop("best_score")),
        "at step 10 and 8 it was saved by an older version",
    ),
    "other parameters": (
        ["train.steps=12"],
        lambda other: change_checkpoints(other, lambda state: state["model"].popitem()),
        "at step 10 and 8 it has other parameters",
    ),
    "lost rows": (
        ["train.steps=12"],
        lambda other: other.replace_rows(row for row in other.rows() if row["step"] != 5),
        "at step 10 and 8 it lacks rows of before",
    ),
    "lost weights": (
        ["train.steps=12"],
        lose_the_best,
        "at step 10 it no longer has the weights of step 5, the best until then",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_where_a_run_cannot_be_continued_a_line_says_why(case: str, begin: Begin) -> None:
    overrides, change, why = REFUSED[case]
    change(begin.other)
    before = contents(begin.other.path)
    line = begin(*overrides)
    assert line is not None
    name = f"{begin.other.path.name} (train.steps=10)"
    assert line.startswith(f"begins at step 0, not with {name}: {why}")
    assert "\n" not in line
    assert not begin.folder.path.exists()
    assert contents(begin.other.path) == before


def test_another_run_is_not_continued(begin: Begin) -> None:
    assert begin("train.steps=12", "train.seed=2") is None
    assert begin("train.steps=12", "train.eval_every=4") is None


@pytest.mark.slow
def test_the_farthest_of_several_is_continued_even_while_it_is_trained(begin: Begin) -> None:
    begin("train.steps=12")
    (farther := begin.folder.checkpoints).joinpath("step_00000010.pt").unlink()
    assert not list(farther.glob("step_*"))
    shutil.copy(begin.other.checkpoints / "step_00000008.pt", farther)
    with begin.other.lock():
        assert begin("train.steps=14") == (
            f"continues {begin.other.path.name} (train.steps=10) from step 10"
        )
    assert begin.steps == [10]


@pytest.mark.slow
def test_rows_that_come_at_another_cadence_are_told(begin: Begin) -> None:
    line = begin("train.steps=12", "train.log_every=1")
    assert line is not None
    assert line.endswith(" from step 10, until then a row every 2 steps")


def test_a_damaged_checkpoint_is_left_alone_and_the_one_before_it_taken(begin: Begin) -> None:
    damage(begin.other.checkpoints / "step_00000010.pt")
    before = contents(begin.other.path)
    line = begin("train.steps=12")
    assert line is not None
    assert line.endswith("from step 8")
    assert contents(begin.other.path) == before


@pytest.mark.slow
def test_best_weights_that_later_ones_replaced_come_from_their_checkpoint(begin: Begin) -> None:
    own = best(begin.other.path)
    model = {name: torch.zeros_like(tensor) for name, tensor in own["model"].items()}
    later = {**own, "step": 11, "model": model}
    torch.save(later, begin.other.checkpoints / "best.pt")
    begin("train.steps=12")
    rebuilt = best(begin.folder.path)
    torch.testing.assert_close(rebuilt.pop("spans"), own.pop("spans"), atol=1.0, rtol=0)
    assert_same(rebuilt, own)


@pytest.mark.slow
def test_what_was_computed_otherwise_is_named(begin: Begin) -> None:
    change_source(begin.other, threads=7, packages={"torch": "2.0"})
    begin("train.steps=12")
    source = begin.folder.source
    source.add_start(
        10, "", {}, {"device": "cpu", "attention": "banded", "processes": 1, "threads": 1}
    )
    assert {"threads 7", "torch 2.0"} <= set(source.unlike_what_it_continues())


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_nothing_begun(begin: Begin) -> None:
    change_source(begin.other, diff="")
    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, room[1]))  # rows fit, a checkpoint does not
    try:
        with pytest.raises(DiskError, match="File too large"):
            begin("train.steps=12")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
    assert begin.steps == []
    half = begin.folder.checkpoints / "step_00000010.pt.1.partial"  # as a kill would leave it
    half.write_bytes(b"half")
    assert str(begin("train.steps=12")).endswith("from step 10")
    assert len(begin.folder.source.starts()) == 1
