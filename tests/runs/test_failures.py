"""What failed, and what a run's words say of it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from adaspan.errors import (
    DiskError,
    LostPeerError,
    NoMemoryError,
    NonFiniteError,
    RunError,
    UserError,
)
from adaspan.runs.failures import (
    Failure,
    FailureClass,
    State,
    failure_of,
    failure_of_exit,
    says_killed_for_memory,
    says_no_memory,
)
from adaspan.runs.folder import RunFolder
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("error", "mistake"),
    [
        (NonFiniteError("the loss is nan"), "non-finite: the loss is nan"),
        (NoMemoryError("full\nmore"), "out of memory: full"),
        (DiskError("full"), "disk: full"),
        (OSError(errno.ENOSPC, "no space"), f"disk: [Errno {errno.ENOSPC}] no space"),
        (LostPeerError("gone"), "node: gone"),
        (RunError("damaged"), "code: damaged"),
        (KeyError(), "code: KeyError"),
    ],
)
def test_an_error_has_a_class_and_a_line(error: Exception, mistake: str) -> None:
    assert str(failure_of(error)) == mistake


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (UserError.exit_code, "data.path=spam: no such file", FailureClass.DATA),
        (UserError.exit_code, "model.dim=-1: must be at least 1", FailureClass.CONFIGURATION),
        (LostPeerError.exit_code, "gone", FailureClass.NODE),
        (1, "KeyError: 7", FailureClass.CODE),
    ],
)
def test_an_exit_code_has_a_class(code: int, message: str, kind: FailureClass) -> None:
    assert failure_of_exit(code, message) == Failure(kind, message)


@pytest.mark.parametrize(
    "message",
    [
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "Storage size calculation overflowed with sizes=[4611686018427387904]",
    ],
)
def test_full_memory_is_recognised(message: str) -> None:
    assert says_no_memory(RuntimeError(message))
    assert says_no_memory(MemoryError())
    assert not says_no_memory(RuntimeError("shape '[2]' is invalid"))


@pytest.mark.parametrize(
    "line",
    [
        "slurmstepd: error: Detected 1 oom_kill event in StepId=5.0.",
        "slurmstepd: error: Job 5 exceeded memory limit (10 > 5), being killed",
        "srun: error: node1: task 0: Out Of Memory",
    ],
)
def test_a_kill_for_memory_is_recognised(line: str) -> None:
    assert says_killed_for_memory(line)
    assert not says_killed_for_memory("srun: error: node1: task 0: Killed")


def test_what_failed_is_read_from_the_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert (folder.state, folder.failure()) == (State.WAITING, None)
    failure = Failure(FailureClass.DISK, "full")
    folder.set_failed(7, failure)
    assert (folder.state, folder.failure()) == (State.FAILED, failure)
    (tmp_path / "status.json").write_text('{"state": "spam", "step": 7}')
    with pytest.raises(RunError, match="there is no state spam"):
        _ = folder.state


def test_the_page_on_slurm_has_every_state_and_class() -> None:
    page = (ROOT / "docs" / "slurm.md").read_text()
    assert [name for name in (*State, *FailureClass) if f"`{name}`" not in page] == []
