"""Which files of the code count, and that nothing which can change a result is left out."""

from __future__ import annotations

import re
from pathlib import Path

import grimp
import pytest

from adaspan.places import CODE, PACKAGE
from adaspan.runs.code.fingerprint import (
    DOES_NOT_COUNT,
    changed_files,
    code_in,
    code_of_run,
    in_words,
    modules_beside,
    short,
)
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small project."""
    for name in ("adaspan/nn/heads.py", "adaspan/report/page.py", "adaspan/errors.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "launch.py").write_text((ROOT / "launch.py").read_text())
    return tmp_path


def test_what_counts_is_all_of_the_package_but_the_parts_that_are_named(root: Path) -> None:
    assert {*code_in(root)} == {"adaspan/nn/heads.py", "adaspan/errors.py"}


@pytest.mark.parametrize(
    ("file", "content", "counts"),
    [
        ("adaspan/nn/heads.py", "x = 2\n", True),
        ("adaspan/nn/heads.py", "x = 1  # one\n", False),
        ("adaspan/nn/new.py", "x = 1\n", True),  # whether git knows it or not
        ("adaspan/new/new.py", "x = 1\n", True),
        ("adaspan/new.py", "x = 1\n", True),
        ("adaspan/report/page.py", "x = 2\n", False),
        ("adaspan/report/new.py", "x = 1\n", False),
        ("conf/config.yaml", "x: 1\n", False),  # what it says is in the run's configuration
        ("new.py", "x = 1\n", False),  # an extension, if a run names it
        ("launch.py", "from adaspan.__main__ import main\n\nmain()\n", True),
    ],
)
def test_an_edit_counts_where_it_can_change_a_result(
    file: str, content: str, counts: bool, root: Path
) -> None:
    before = code_in(root)
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text(content)
    after = code_in(root)
    assert changed_files(before, after) == ([file] if counts else [])
    assert (short(before) != short(after)) is counts


@pytest.mark.parametrize("importer", ["launch.py", "adaspan/nn/heads.py", "adaspan/new.py"])
def test_modules_of_ones_own_beside_launch_py_count_where_they_are_imported(
    importer: str, root: Path
) -> None:
    for name, content in (("one.py", "import two"), ("two/__init__.py", ""), ("other.py", "")):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(content)
    assert not modules_beside(root)
    (root / importer).write_text("def f():\n    from one import x\n")
    assert [path.name for path in modules_beside(root)] == ["one.py", "two"]
    before = code_in(root)
    (root / "two" / "deep.py").write_text("x = 1\n")
    (root / "other.py").write_text("x = 1\n")
    assert changed_files(before, code_in(root)) == ["two/deep.py"]


def test_what_an_editor_leaves_is_no_code(root: Path) -> None:
    before = code_in(root)
    (root / "adaspan" / ".#errors.py").symlink_to("somebody@host.1")  # to nothing
    (root / "adaspan" / "folder.py").mkdir()
    assert code_in(root) == before


def test_a_file_that_is_gone_is_a_change(root: Path) -> None:
    before = code_in(root)
    (root / "adaspan" / "errors.py").unlink()
    assert changed_files(before, code_in(root)) == ["adaspan/errors.py"]


@pytest.mark.slow
def test_all_that_training_imports_counts_but_what_sends_rows() -> None:
    """`adaspan.tracking` may not import torch, says import-linter: it changes no weights."""
    graph = grimp.build_graph("adaspan", cache_dir=None)
    counted = {*code_of_run([])}
    left_out = {
        module
        for module in graph.find_upstream_modules("adaspan.train.run")
        if not {f"{module.replace('.', '/')}{end}" for end in (".py", "/__init__.py")} & counted
    }
    assert {module.split(".")[1] for module in left_out} == {"tracking"}


def test_every_part_that_does_not_count_is_there() -> None:
    assert {*DOES_NOT_COUNT} <= {path.name for path in PACKAGE.iterdir() if path.is_dir()}


def test_the_readme_names_the_same_parts() -> None:
    (sentence,) = re.findall(r"less what only plans.*?: (.*?)\.", README, re.DOTALL)
    assert {*re.findall(r"`(\w+)`", sentence)} == {*DOES_NOT_COUNT}


def test_launch_py_as_shipped_counts_as_none() -> None:
    assert "launch.py" not in code_in(CODE), "it does no more than _LAUNCH_AS_SHIPPED"


def test_files_are_named_as_far_as_a_line_holds_them() -> None:
    assert in_words(["a.py"]) == "a.py differs"
    assert in_words(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more differ"
