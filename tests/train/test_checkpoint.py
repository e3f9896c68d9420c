"""Checkpoints are whole or absent, and nothing in them is run."""

from __future__ import annotations

import logging
import pickle
import resource
from pathlib import Path

import pytest
import torch

from adaspan.errors import RunError
from adaspan.train.checkpoint import Checkpoints


def state(step: int, size: int = 100) -> dict[str, object]:
    return {"step": step, "model": {"w": torch.full((size,), float(step))}, "losses": [0.5]}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20, 30):
        checkpoints.save(step, state(step))
    checkpoints.save_best(state(20))
    assert names(tmp_path) == ["best.pt", "step_00000020.pt", "step_00000030.pt"]
    newest = checkpoints.load_newest()
    assert newest is not None
    assert newest["step"] == 30
    assert checkpoints.load_best()["step"] == 20


def test_a_new_run_has_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").load_newest() is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_newest_is_reported_and_the_one_before_is_used(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20):
        checkpoints.save(step, state(step, size=5000))
    newest = tmp_path / "step_00000020.pt"
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 0xFF
    newest.write_bytes({"cut": content[:-700], "flip": content, "empty": bytearray()}[damage])
    with caplog.at_level(logging.WARNING, "adaspan"):
        loaded = checkpoints.load_newest()
    assert loaded is not None
    assert loaded["step"] == 10
    assert "step_00000020.pt: damaged" in caplog.text
    checkpoints.save(15, state(15))
    assert names(tmp_path) == ["step_00000010.pt", "step_00000015.pt", "step_00000020.damaged"]


def test_if_all_are_damaged_the_run_does_not_start_over_in_silence(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(10, state(10))
    (tmp_path / "step_00000010.pt").write_bytes(b"junk")
    with pytest.raises(RunError, match=r"train\.restart=true starts over"):
        checkpoints.load_newest()


class Exploit:
    """What a malicious checkpoint would hold."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("exploited"),))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    torch.save({"step": 1, "x": Exploit()}, folder / "step_00000001.pt", pickle_module=pickle)
    with pytest.raises(RunError):
        Checkpoints(folder).load_newest()
    assert not Path("exploited").exists()


def test_a_full_disk_is_one_line_and_costs_no_earlier_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(10, state(10))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(RunError, match=r"cannot be written \(File too large\)") as error:
            checkpoints.save(20, state(20, size=1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert names(tmp_path) == ["step_00000010.pt"]


def test_what_a_killed_process_left_behind_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "step_00000010.pt.123.partial").write_bytes(b"half a checkpoint")
    Checkpoints(tmp_path).save(20, state(20))
    assert names(tmp_path) == ["step_00000020.pt"]
