"""The benchmarks run, and their last line can be read by a program."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, environment

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("benchmark", "case", "contenders"),
    [
        ("attention", "limit 512", ["banded", "reference"]),
        ("model", "default-learned", ["banded", "reference"]),
    ],
)
def test_a_benchmark_measures_every_contender_with_both_mallocs(
    benchmark: str, case: str, contenders: list[str]
) -> None:
    script = ROOT / "benchmarks" / f"{benchmark}.py"
    answer = subprocess.run(
        [sys.executable, str(script), "--cases", case, "--repeats", "1"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    results = json.loads(answer.stdout.splitlines()[-1])["results"]
    found = [(result["malloc"], result["contender"]) for result in results]
    assert found == [(malloc, name) for malloc in ("default", "tuned") for name in contenders]
    for result in results:
        assert result["case"] == case
        assert 0 < result["seconds_min"] <= result["seconds_median"]
        assert result["memory_mib"] > 0
        assert result["gflop"] > 0
