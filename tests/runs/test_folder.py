"""The run folder's files stay true through kills and resumes."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from filelock import FileLock

from adaspan.errors import RunError, UserError
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.tracking.files import TrackedFiles, clear, set_aside


def test_rows_after_the_checkpoint_are_cut_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (10, 20, 30):
        folder.append({"step": step, "train/bpb": 1.0})
    folder.append({"step": 20, "final/valid_bpb": 1.0})
    folder.cut_back(20)
    assert [row["step"] for row in folder.rows()] == [10, 20]
    assert all("final/valid_bpb" not in row for row in folder.rows())


def test_a_row_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append({"step": 10, "train/bpb": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "train')
    assert [row["step"] for row in folder.rows()] == [10]
    folder.cut_back(10)
    folder.append({"step": 20})
    assert [row["step"] for row in folder.rows()] == [10, 20]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_what_may_be_looked_at_only_is_not_locked(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is mounted to be read, which a test cannot do."""

    def refused(*arguments: object, **more: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(FileLock, "acquire", refused)
    assert not RunFolder(tmp_path).is_locked()


def test_a_new_run_has_no_rows_and_no_status(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.rows() == []
    assert folder.status() == {}
    assert folder.source.data_fingerprint() is None


@pytest.mark.slow
def test_two_processes_cannot_hold_one_run(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path).lock(),
        pytest.raises(UserError, match="another process is training this run"),
        RunFolder(tmp_path).lock(),
    ):
        pass
    with RunFolder(tmp_path).lock():
        pass


def test_clearing_leaves_nothing_of_the_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.lock():
        folder.freeze("model: {}\n", "abc")
        folder.append({"step": 1})
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "best.pt").touch()
        clear(folder)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_starting_over_what_wandb_knows_is_counted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert TrackedFiles(tmp_path).restarts() == 0
    for restarts in (1, 2):
        (tmp_path / "wandb").mkdir()
        clear(folder)
        assert TrackedFiles(tmp_path).restarts() == restarts
    clear(folder)
    assert TrackedFiles(tmp_path).restarts() == 2


def test_what_is_set_aside_can_be_put_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.lock():
        folder.set_status(State.DONE, 9)
        (tmp_path / "wandb").mkdir()
        (tmp_path / "wandb" / "file").write_text("kept")
        set_aside(folder)
        assert folder.status() == {}
        assert TrackedFiles(tmp_path).restarts() == 1
        folder.freeze("new: true", "0123")
        folder.put_back()
    assert folder.status()["state"] == "done"
    assert (tmp_path / "wandb" / "file").read_text() == "kept"
    assert TrackedFiles(tmp_path).restarts() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "status.json", "wandb"]


def test_a_folder_that_cannot_be_created_is_named() -> None:
    unwilling = Path("/proc/x")  # not even for root
    with (
        pytest.raises(RunError, match=r"^/proc/x/run: cannot be created \(No such file or"),
        RunFolder(unwilling / "run").lock(),
    ):
        pass
