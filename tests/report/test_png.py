"""Pictures of the plots, drawn by a real browser."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from adaspan.cli import main
from adaspan.report.comparison import Comparison
from adaspan.report.plots import all_plots
from adaspan.report.png import SCALE, write_pictures
from adaspan.status.find import Runs

SIZES = {"span_limits": (1140, 420), "parameters": (1140, 420), "spans": (610, 310)}


def chunks(png: bytes) -> dict[str, bytes]:
    """The parts of a PNG by their names; those of one name are joined."""
    found: dict[str, bytes] = {}
    at = 8
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at : at + 8])
        found[name.decode()] = found.get(name.decode(), b"") + png[at + 8 : at + 8 + length]
        at += 12 + length
    return found


@pytest.mark.usefixtures("chromium")
def test_every_plot_becomes_a_picture_of_its_size(comparison: Comparison, tmp_path: Path) -> None:
    plots = all_plots(comparison)
    paths = write_pictures(plots, tmp_path / "figures")
    assert [path.name for path in paths] == [f"{name}.png" for name in plots]
    for path in paths:
        png = path.read_bytes()
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        parts = chunks(png)
        width, height = struct.unpack(">II", parts["IHDR"][:8])
        assert (width, height) == tuple(SCALE * n for n in SIZES.get(path.stem, (760, 500)))
        assert len(set(zlib.decompress(parts["IDAT"]))) > 50, "more than one colour"


@pytest.mark.slow
def test_without_a_browser_one_line_says_what_to_install(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    folder = next(iter(runs)).parent
    arguments = ["report", "--runs", str(folder), "--format", "png", "--out", str(tmp_path)]
    end = CliRunner().invoke(main, arguments)
    assert end.exit_code == 2
    (line,) = end.stderr.splitlines()
    assert line.startswith("adaspan: error: --format png: no Chrome or Chromium here")
    assert "apt-get install chromium" in line
    assert not list(tmp_path.glob("*.png"))
