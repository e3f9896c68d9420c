"""What `from adaspan import …` offers, and what it does not drag in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import adaspan
from tests.conftest import ROOT

LOADED = """
import json, sys
import adaspan
after = {"adaspan": sorted(sys.modules)}
for name in ("read", "Vocabulary", *adaspan.__all__):
    getattr(adaspan, name)
    after.setdefault(name, sorted(sys.modules))
print(json.dumps({**after, "all": sorted(sys.modules)}))
"""


@pytest.mark.slow
def test_names_are_imported_when_they_are_used_and_need_no_hydra(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = {
        name: {module.partition(".")[0] for module in modules}
        for name, modules in json.loads(process.stdout).items()
    }
    assert not loaded["adaspan"] & {"torch", "numpy", "omegaconf", "pandas"}
    assert "torch" not in loaded["read"] | loaded["Vocabulary"]
    assert "torch" in loaded["all"]
    assert not loaded["all"] & {"hydra", "wandb", "plotly", "submitit", "rich"}


def test_every_name_is_listed_and_is_what_it_says() -> None:
    public = {name for name in dir(adaspan) if not name.startswith("__")}
    assert public == set(adaspan.__all__)  # what a console completes
    for name in adaspan.__all__:
        assert getattr(adaspan, name).__name__ == name
        assert getattr(adaspan, name).__doc__
        assert name in adaspan.__doc__


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == adaspan.__version__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Spam'"):
        adaspan.Spam  # noqa: B018
