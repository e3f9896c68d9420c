"""What SLURM prints is understood."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from adaspan.slurm.cluster import gpus_a_node, last_states, minutes


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("30:00", 30),
        ("0:45", 0.75),
        ("12:00:00", 720),
        ("1-12:30:00", 2190),
        ("infinite", math.inf),
    ],
)
def test_time_limits(limit: str, expected: float) -> None:
    assert minutes(limit) == expected


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for commands that say what is wanted, in place of SLURM's."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def says(tool: Path, *lines: str) -> None:
    tool.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
    tool.chmod(0o755)


def test_what_the_queue_has_forgotten_is_in_the_accounts(tools: Path) -> None:
    says(tools / "squeue", "20_1|TIMEOUT", "20_[2-3]|CANCELLED")
    says(tools / "sacct", "10|OUT_OF_MEMORY", "11|CANCELLED by 0", "20_1|RUNNING")
    assert last_states(["10", "11", "12", "20_1", "20_2"]) == {
        "10": "OUT_OF_MEMORY",
        "11": "CANCELLED",
        "20_1": "TIMEOUT",
        "20_2": "CANCELLED",
    }


def test_gpus_are_those_of_the_partition(tools: Path) -> None:
    says(tools / "sinfo", "main*|(null)", "gpu|gpu:a100:4", "gpu|gpu:2(S:0-1)", "old|gpu:2")
    assert gpus_a_node(None) == gpus_a_node("main") == 0
    assert gpus_a_node("gpu") == 4
    assert gpus_a_node("gpu,old") == 2
    assert gpus_a_node("main,gpu") == 0
    assert gpus_a_node("none") == 0
