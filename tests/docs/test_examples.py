"""The examples of docs/ do what they say, as they stand there."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from adaspan import UserError, read
from tests.conftest import ROOT, TINY
from tests.processes import train_here

NOTEBOOK = ROOT / "docs" / "explore_a_run.ipynb"
_PLOT = "application/vnd.plotly.v1+json"


@pytest.mark.slow
def test_a_plain_model_with_our_layer_learns_and_so_do_its_spans() -> None:
    bits, spans = runpy.run_path(str(ROOT / "docs/examples/layer_in_your_model.py"))["main"]()
    assert bits[0] > 6
    assert sum(bits[-10:]) / 10 < 2.5
    every = [span for heads in spans for span in heads]
    assert len(every) == 8
    assert min(every) < 1  # not worth its price
    assert max(every) > 3


@pytest.fixture
def code_run(tmp_path: Path) -> Path:
    """The folder of a finished run on a text that looks like Python."""
    text = tmp_path / "code.py"
    text.write_text("".join(f"def add_{i}(a, b):\n    return a + b\n\n\n" for i in range(200)))
    places = (f"data.path={text}", f"data_dir={tmp_path}", f"output_dir={tmp_path / 'runs'}")
    train_here(*TINY, "data=text", *places)
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


@pytest.mark.slow
def test_the_notebook_explores_a_run(
    code_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    monkeypatch.setenv("ADASPAN_RUN", str(code_run))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert all(output.output_type != "error" for output in outputs)
    curve, heatmap, attention = (
        output.data[_PLOT]["data"] for output in outputs if _PLOT in output.get("data", {})
    )
    assert [line["name"] for line in curve] == ["train/bpb", "valid/bpb"]
    _, spans = read(code_run)
    assert heatmap[0]["z"]["shape"] == "2, 2"
    assert len(spans) % 4 == 0
    assert attention[0]["x"][0] == "0 'd'"
    (text,) = (output.text for output in outputs if output.output_type == "stream")
    assert text.startswith("def ")
    assert len(text) > 200


@pytest.mark.slow
def test_the_readmes_library_code_works_as_it_stands(
    code_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (name,) = set(re.findall(r"runs/[\w-]+", code))
    (tmp_path / "elsewhere" / "runs").mkdir(parents=True)
    shutil.copytree(code_run, tmp_path / "elsewhere" / name)
    monkeypatch.chdir(tmp_path / "elsewhere")
    code = code.replace("layer=3", "layer=1").replace("import os", "return a")  # of a tiny run
    names: dict[str, Any] = {"x": torch.randn(2, 5, 256), "task_loss": lambda y: y.square().mean()}
    exec(code, names)
    assert names["y"].shape == (2, 5, 256)
    assert names["weights"].shape == (8, 8)


def test_before_any_run_the_notebook_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADASPAN_RUN", raising=False)
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    choosing, reading, *_ = (cell.source for cell in cells if cell.cell_type == "code")
    names: dict[str, Any] = {}
    exec(choosing, names)
    with pytest.raises(UserError, match="none yet: no such folder; adaspan status shows the runs"):
        exec(reading, names)


def test_the_notebook_is_kept_without_outputs() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
