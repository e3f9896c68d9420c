"""The benchmarks compare contenders that do the same work, and measure what was really done."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch

from adaspan.report.comparison import compare
from tests.conftest import ROOT, call, environment

CPU = torch.device("cpu")


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script of `benchmarks/`."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module(name)


@pytest.mark.slow
def test_time_memory_and_flops_are_those_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    factor = torch.ones(128, 128)

    def quick() -> None:
        order.append("quick")
        factor @ factor

    def slow() -> None:
        order.append("slow")
        torch.ones(2**24)  # 64 MiB
        factor @ factor @ factor
        time.sleep(0.05)

    measure = benchmark("measure", monkeypatch).measure
    one, two = measure("case", {"quick": quick, "slow": slow}, CPU, repeats=3)
    assert (one.gflop, two.gflop) == (2 * 128**3 / 1e9, 4 * 128**3 / 1e9)
    assert one.seconds_median < 0.05 <= two.seconds_min
    assert one.memory_mib < 32 < 60 < two.memory_mib < 96
    assert order[-6:] == ["quick", "slow"] * 3, "they take turns"


@pytest.mark.slow
def test_contenders_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    attention = benchmark("attention", monkeypatch)
    limit, spans = attention.CASES["limit 512"]
    hidden = torch.randn(attention.BATCH, attention.BLOCK, attention.DIM, requires_grad=True)
    cache = torch.randn(attention.BATCH, limit, attention.DIM)
    outputs, gradients = [], []
    for implementation in ("banded", "reference"):
        torch.manual_seed(1)  # of the layer's weights
        outputs.append(attention.ours(implementation, limit, spans, hidden, cache)())
        assert hidden.grad is not None
        gradients.append(hidden.grad)
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_spans_of_the_same_mean_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = benchmark("spans", monkeypatch)
    results = spans.measure("", spans.contenders("default-20", CPU), CPU, repeats=1)
    adaptive, dynamic, to_the_limit = (result.gflop for result in results)
    assert adaptive < dynamic < to_the_limit / 2


@pytest.mark.slow
def test_a_program_can_read_the_last_line() -> None:
    narrow = "import attention; attention.DIM = 64; attention.BATCH = 1; attention.main()"
    answer = subprocess.run(
        [sys.executable, "-c", narrow, "--cases", "limit 512", "--repeats", "1"],
        cwd=ROOT / "benchmarks",
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    results = json.loads(answer.stdout.splitlines()[-1])["results"]
    found = {(result["malloc"], result["contender"]): result["gflop"] for result in results}
    mallocs = ("default", "tuned")
    assert list(found) == [(m, name) for m in mallocs for name in ("banded", "reference")]
    assert found["default", "banded"] == found["tuned", "banded"] < found["tuned", "reference"]


@pytest.mark.slow
def test_a_gpu_can_be_tried_without_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = benchmark("gpu", monkeypatch)
    monkeypatch.setattr(script, "SECONDS", 0.05)
    words = ("--tiny", "--device", "cpu", "--only", "small-8", "--eager", "--profile", "seen.txt")
    end = call(script.main, "gpu.py", *words, folder=tmp_path)
    assert end.returncode == 0, end.stdout
    assert (tmp_path / "seen.txt").read_text().count("small-8: two steps") == 2
    found = json.loads(end.stdout.splitlines()[-1])
    assert [step["contender"] for step in found["steps"]] == ["banded, captured", "banded, eager"]
    assert all(step["tokens_per_second"] > 0 for step in found["steps"])
    assert found["checks"].keys() == {
        "attention in float32",
        "attention in bfloat16",
        "two runs",
        "graph and eager",
    }
    assert all(part <= 1 for part in found["checks"].values())


@pytest.mark.slow
def test_the_runs_made_up_for_the_report_have_all_that_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = benchmark("report", monkeypatch).make(tmp_path, runs=8, rows_a_run=30)
    comparison = compare("made up", {folder: {} for folder in folders})
    assert len(comparison.done) == len(comparison.groups) == 4
    assert [len(group.done) for group in comparison.groups] == [2] * 4, "two seeds each"
    for group in comparison.done:
        for figure in ("valid", "test", "span_mean", "macs_per_token", "tokens_per_second"):
            assert getattr(group, figure) is not None, figure
        curve = group.curve()
        assert curve is not None
        assert len(curve.steps) == 3, "an evaluation in every tenth row, and in the last"
