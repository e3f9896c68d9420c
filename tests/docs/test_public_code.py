"""What docs/public_code.md names for the public code's flags and scripts is there."""

from __future__ import annotations

import dataclasses
import re

import pytest

from adaspan.config.kinds.registry import KINDS
from adaspan.config.resolved import flat
from tests.conftest import ROOT, compose_run

PAGE = (ROOT / "docs" / "public_code.md").read_text()
SCRIPTS, FLAGS = PAGE.split("## Flags")


def test_every_key_is_one_of_a_run() -> None:
    known = set(flat(dataclasses.asdict(compose_run())))
    for group, kinds in KINDS.items():
        for kind in kinds.values():
            if dataclasses.is_dataclass(kind):
                known |= {f"{group}.{field.name}" for field in dataclasses.fields(kind)}
    named = set(re.findall(r"`((?:model|span|data|optimizer|train)\.\w+)", PAGE))
    assert len(named) > 20
    assert named <= known


@pytest.mark.slow
def test_every_option_that_is_named_composes() -> None:
    options = re.findall(r"`((?:optimizer|span)=\w+)`", PAGE)
    assert {"optimizer=sgd", "span=dynamic"} <= set(options)
    for option in options:
        compose_run(option)


@pytest.mark.slow
def test_every_script_is_an_experiment_with_its_fine_tuning() -> None:
    rows = re.findall(r"\| `(\w+)\.sh` \| `python launch.py experiment=(\w+)` \| (.*) \|", SCRIPTS)
    assert len(rows) >= 7
    for script, experiment, fine_tuning in rows:
        assert script == experiment
        steps = int("".join(re.findall(r"\d", fine_tuning)) or 0)
        assert compose_run(f"experiment={experiment}").optimizer.cooldown_steps == steps


def test_every_sweep_that_is_named_is_there() -> None:
    names = re.findall(r"`((?:table|figure)\d\w*|all_attention\w*)`", SCRIPTS)
    assert len(names) >= 7
    for name in names:
        assert (ROOT / "sweeps" / f"{name}.yaml").exists(), name


def test_every_flag_stands_there_once() -> None:
    flags = [
        flag for cell in re.findall(r"^\| (`--.*?) \|", FLAGS, re.M) for flag in cell.split(", ")
    ]
    assert len(flags) > 30
    assert len(flags) == len(set(flags))
