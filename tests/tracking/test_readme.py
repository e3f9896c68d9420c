"""The README's commands for what comes after a sweep work as they stand, one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaspan.cli import main
from tests.conftest import TINY, Launch, call
from tests.test_readme import AFTER_A_SWEEP, THE_SWEEP, overrides_of
from tests.tracking.server import Server


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")  # of wandb-workspaces
def test_the_commands_after_a_sweep_work(
    server: Server, launch_here: Launch, tmp_path: Path
) -> None:
    either_span = [override for override in TINY if not override.startswith("span.")]
    data = ("data.distances=[3]", "data.length=2000", f"data_dir={tmp_path}")
    quick = ("tracking=offline", "train.steps=20", "optimizer.cooldown_steps=0", "train.seed=1")
    end = launch_here(*overrides_of(THE_SWEEP), *either_span, *data, *quick)
    assert end.returncode == 0, end.stderr
    assert "MACs" in end.stdout
    for command in AFTER_A_SWEEP:
        answer = call(main, *command.split(), folder=tmp_path)
        assert answer.returncode == 0, answer.stderr
    assert list(tmp_path.glob("runs/sweeps/*/report.html"))
    assert len(server.runs) == 5, "a line of the plot each"
    assert len(server.reports) == 1
