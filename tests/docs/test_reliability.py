"""Every promise of docs/reliability.md is proved by a test that there is."""

from __future__ import annotations

import ast
import re

from tests.conftest import ROOT


def test_every_test_that_is_named_is_there() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| (?!promise|--)", line)]
    named = re.findall(r"\| `(tests/\S+\.py)::(test_\w+)` \|", page)
    assert len(named) == len(rows) > 25
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text())
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert name in functions, f"{file}::{name}"
