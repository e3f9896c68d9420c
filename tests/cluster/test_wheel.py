"""An installed wheel sends sweeps to a cluster, without a checkout anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cluster.conftest import Cluster
from tests.processes import status
from tests.wheel import installed_in, python_with_wheel


def test_a_wheel_submits_a_sweep_and_reports_it(
    sweeps: Cluster, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    python = python_with_wheel(tmp_path_factory)
    installed = installed_in(tmp_path, python, **sweeps.environment())
    end = installed("train", *sweeps.tiny, "span.limit=8,16")
    assert end.returncode == 0, end.stderr
    sweeps.wait_until_empty()
    runs = sorted(path.parent for path in sweeps.runs.glob("*/config.yaml"))
    assert [status(run)["state"] for run in runs] == ["done", "done"], sweeps.explain()
    for run in runs:
        (start,) = json.loads((run / "source.json").read_text())
        assert (start["commit"], start["device"]) == (None, "cpu")
    table = installed("report", "--format", "text")
    assert table.returncode == 0, table.stderr
    assert table.stdout.count("done") == 2
