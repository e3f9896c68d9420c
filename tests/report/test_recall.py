"""The plot of recall streams: how far heads look against how far they must."""

from __future__ import annotations

import pytest

from adaspan.report.comparison import Comparison, compare
from adaspan.report.plots import all_plots
from adaspan.report.recall import recall
from adaspan.status.find import Runs
from tests.conftest import TINY
from tests.processes import train_here
from tests.report.conftest import newest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recalled(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two ramps at three sets of distances, one with two seeds."""
    folder = tmp_path_factory.mktemp("recall")
    common = (*TINY, "train.steps=2", "data=recall", "data.alphabet=4", "data.length=2000")
    places = f"data_dir={folder}", f"output_dir={folder}"
    found: Runs = {}
    for distances, ramp, seed in (
        ("[9]", "4", "1"),
        ("[3]", "4", "1"),
        ("[3]", "4", "2"),
        ("[3]", "8", "1"),
        ("[9]", "8", "1"),
        ("[20,3]", "8", "1"),
    ):
        varies = {"data.distances": distances, "span.ramp": ramp, "train.seed": seed}
        kept = "data.kept=[0.4,0.4]" if "," in distances else "data.kept=[0.8]"
        train_here(*common, *places, kept, *(f"{key}={value}" for key, value in varies.items()))
        found[newest(folder)] = varies
    return compare("recall", found)


def test_a_line_for_all_else_that_varies_from_the_nearest_to_the_farthest_key(
    recalled: Comparison,
) -> None:
    drawn = [trace for trace in recall(recalled).data if trace.mode == "lines+markers"]
    assert {(trace.name, trace.x, trace.xaxis) for trace in drawn} == {
        ("ramp 4", (3, 9), "x"),
        ("ramp 4", (3, 9), "x2"),
        ("ramp 8", (3, 9, 20), "x"),
        ("ramp 8", (3, 9, 20), "x2"),
    }
    (reach,) = (trace.y for trace in drawn if (trace.name, trace.xaxis) == ("ramp 4", "x2"))
    for measured in reach:  # spans begin at 0.3 of 24 tokens
        assert measured == pytest.approx(0.3 * 24 + 4 + 1, abs=2)
    (spread,) = (
        trace.error_y.array for trace in drawn if trace.name == "ramp 4" and trace.xaxis == "x"
    )
    assert spread[0] > 0
    assert spread[1] == 0


def test_what_must_be_is_drawn_beside(recalled: Comparison) -> None:
    guides = {trace.name: trace for trace in recall(recalled).data if trace.mode == "lines"}
    assert guides["chance"].y == (2.0, 2.0, 2.0), "bits of four symbols"
    assert guides["k − 1, the token that is needed"].y == (2, 8, 19)
    one, other, _ = guides["entropy"].y
    assert one == pytest.approx(0.85 * 0.234 + 0.15 * 4.322, abs=0.4)
    assert 0 < other < 2


def test_limits_have_no_plot_of_their_own_beside_it(
    recalled: Comparison, comparison: Comparison
) -> None:
    assert "span_limits" not in all_plots(recalled)
    assert "recall" in all_plots(recalled)
    assert "recall" not in all_plots(comparison)
