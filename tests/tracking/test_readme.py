"""The README's commands for what comes after a sweep work as they stand, one after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import TINY, Launch, environment
from tests.test_readme import AFTER_A_SWEEP, THE_SWEEP, overrides_of
from tests.tracking.server import Server


def test_the_commands_after_a_sweep_work(server: Server, launch: Launch, tmp_path: Path) -> None:
    either_span = [override for override in TINY if not override.startswith("span.")]
    data = ("data.distances=[3]", "data.length=2000", f"data_dir={tmp_path}")
    quick = ("tracking=offline", "train.steps=20", "optimizer.cooldown_steps=0", "train.seed=1")
    end = launch(*overrides_of(THE_SWEEP), *either_span, *data, *quick)
    assert end.returncode == 0, end.stderr
    assert "MACs" in end.stdout
    for command in AFTER_A_SWEEP:
        adaspan, *words = command.split()
        answer = subprocess.run(
            [Path(sys.executable).parent / adaspan, *words],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert answer.returncode == 0, answer.stderr
    assert list(tmp_path.glob("runs/sweeps/*/report.html"))
    assert len(server.runs) == 5, "a line of the plot each"
    assert len(server.reports) == 1
