"""The benchmark of the report runs, and its last line can be read by a program."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, environment

pytestmark = pytest.mark.slow


def test_reading_and_writing_are_measured_apart() -> None:
    script = ROOT / "benchmarks" / "report.py"
    answer = subprocess.run(
        [sys.executable, str(script), "--runs", "4", "--rows", "20", "--repeats", "1"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    told = json.loads(answer.stdout.splitlines()[-1])
    assert [result["step"] for result in told["results"]] == ["read", "page"]
    for result in told["results"]:
        assert 0 < result["seconds_min"] <= result["seconds_median"]
    assert told["page_bytes"] > 4e6, "plotly is in it"
