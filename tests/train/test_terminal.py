"""A live bar on a terminal, plain lines in a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests.conftest import Launch, command, environment
from tests.processes import train_here


def test_a_file_gets_plain_lines(
    tiny: tuple[str, ...], launch: Launch, run_folder: Callable[[], Path]
) -> None:
    end = launch(*tiny)
    assert end.stderr == ""
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", end.stdout)
    lines = end.stdout.splitlines()
    opening = [line.split()[0] for line in lines[:6]]
    assert opening == ["run", "model", "span", "data", "format", "device"]
    assert [line.split()[0] for line in lines if line.startswith("step")] == ["step"] * 3
    assert re.match(r"step 20/60 · valid \d\.\d{3} bpb · train \d\.\d{3} bpb · span mean", lines[6])
    for word in ("bpb", "spans", "layer 0", "layer 1", "FLOPs", "folder", "next"):
        assert any(line.strip().startswith(word) for line in lines), word
    assert (run_folder() / "log.txt").read_text() == end.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chosen", "used"), [("auto", "banded"), ("banded", "banded"), ("reference", "reference")]
)
def test_the_attention_that_auto_chose_is_said_once(
    tiny: tuple[str, ...], capsys: pytest.CaptureFixture[str], chosen: str, used: str
) -> None:
    train_here(*tiny, f"train.attention={chosen}")
    output = [line for line in capsys.readouterr().out.splitlines() if "· attention" in line]
    assert output == [f"device  cpu · float32 · attention {used} · W&B disabled"]


@pytest.mark.slow
def test_a_terminal_gets_one_live_bar(tiny: tuple[str, ...], tmp_path: Path) -> None:
    program, *arguments = command(*tiny, "train.steps=300")
    child = pexpect.spawn(
        program,
        arguments,
        cwd=str(tmp_path),
        env={**environment(), "TERM": "xterm", "COLUMNS": "140"},
        dimensions=(40, 140),
        timeout=120,
        encoding="utf-8",
    )
    child.expect(r"step \d+/300")
    child.expect(r"bpb · span mean \d+ max \d+")
    child.expect("tokens/s")
    child.expect("left")
    child.expect(r"step 300/300 · valid")
    child.expect("scoring the weights")
    child.expect("scoring valid")
    child.expect("scoring test")
    child.expect("next")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert "\x1b" not in (folder / "log.txt").read_text()


@pytest.mark.slow
def test_control_c_on_a_terminal_saves_and_says_how_to_go_on(
    tiny: tuple[str, ...], tmp_path: Path
) -> None:
    program, *arguments = command(*tiny, "train.steps=3000", "tracking=offline")
    child = pexpect.spawn(
        program,
        arguments,
        cwd=str(tmp_path),
        env={**environment(), "TERM": "xterm"},
        timeout=120,
        encoding="utf-8",
    )
    child.expect(r"step +40/3000 · valid")
    child.sendintr()
    child.expect(r"stopped at step \d+, all saved; the same command goes on from there")
    rest = child.read()
    child.close()
    assert child.exitstatus == 130
    assert "Traceback" not in rest
