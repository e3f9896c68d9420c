"""A kill for memory is told from other kills; tests/cluster has one in a job."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaspan.slurm.control_group import ran_out_of_memory

VERSION_2 = ("0::/slurm/job_17\n", "slurm/job_17/memory.events")
VERSION_1 = ("4:cpu:/a\n3:memory,hugetlb:/slurm/job_17\n", "memory/slurm/job_17/memory.oom_control")


@pytest.mark.parametrize(("own", "file"), [VERSION_2, VERSION_1])
@pytest.mark.parametrize("kills", [0, 1])
def test_the_kernel_says_whether_it_killed_for_memory(
    own: str, file: str, kills: int, tmp_path: Path
) -> None:
    (tmp_path / "own").write_text(own)
    events = tmp_path / "groups" / file
    events.parent.mkdir(parents=True)
    events.write_text(f"low 0\noom 1\noom_kill {kills}\n")
    assert ran_out_of_memory(tmp_path / "own", tmp_path / "groups") == bool(kills)


def test_a_group_that_is_gone_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "own").write_text(VERSION_2[0])
    assert not ran_out_of_memory(tmp_path / "own", tmp_path)
    assert not ran_out_of_memory(), "no process of the tests was killed"
