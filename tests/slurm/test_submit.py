"""What can be submitted again; the rest is tried on a cluster, in tests/cluster."""

from __future__ import annotations

from pathlib import Path

from adaspan.runs.folder import RunFolder
from adaspan.slurm.submit import resubmit, was_submitted


def test_a_run_that_was_never_submitted_is_passed_over(tmp_path: Path) -> None:
    assert not was_submitted(RunFolder(tmp_path))
    assert list(resubmit([RunFolder(tmp_path)])) == []
