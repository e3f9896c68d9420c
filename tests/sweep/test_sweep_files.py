"""Every file in sweeps/ opens with its question and composes into the runs that it announces."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, Launch

FILES = sorted((ROOT / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_sweep_file_composes_into_the_runs_it_announces(
    file: Path, launch: Launch, tmp_path: Path
) -> None:
    text = file.read_text()
    announced = re.search(r"^# Runs +(\d+)", text, re.MULTILINE)
    assert announced, "says how many runs it has"
    assert "?" in text.partition("# Runs")[0], "opens with a question"
    assert re.search(r"^# Cost ", text, re.MULTILINE)
    assert f"python launch.py sweeps={file.stem}" in text
    end = launch(f"sweeps={file.stem}", "hydra.launcher.dry_run=true")
    assert end.returncode == 0, end.stderr
    assert end.stdout.count("waiting") == int(announced[1])
    assert not list(tmp_path.iterdir()), "nothing was written"
