"""The figures of a report are those of `metrics.jsonl`: means over the seeds that are done."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest

from adaspan.errors import RunError
from adaspan.report.comparison import Comparison, compare
from adaspan.report.finding import finding, notes
from adaspan.report.groups import Group, thinned
from adaspan.report.labels import readable
from adaspan.runs import figures
from adaspan.runs.measures import BPB
from adaspan.status.find import Runs
from tests.processes import rows

MEANS = (
    figures.VALID.of(BPB),
    figures.TEST.of(BPB),
    figures.SPAN_MEAN,
    figures.SPAN_MAX,
    figures.EXECUTED_FLOPS,
    figures.PAPER_MACS,
)


def group_of(comparison: Comparison, label: str) -> Group:
    (group,) = (group for group in comparison.groups if group.label == label)
    return group


def trained(runs: Runs, **varies: str) -> list[Path]:
    """The runs that the tests trained to their end."""
    wanted = {"span": varies["kind"], "span.limit": varies["limit"]}
    return [
        path for path, given in runs.items() if wanted.items() <= given.items() and is_done(path)
    ]


def is_done(path: Path) -> bool:
    return path.exists() and "final/valid_bpb" in rows(path)[-1]


def test_a_group_is_the_mean_over_its_seeds(comparison: Comparison, runs: Runs) -> None:
    for kind, limit, seeds in (
        ("fixed", "12", 1),
        ("fixed", "24", 1),
        ("adaptive", "12", 2),
        ("adaptive", "24", 2),
    ):
        group = group_of(comparison, f"span={kind} span.limit={limit}")
        # The last value of each: the final row has none of what updates executed.
        finals = [
            {key: value for row in rows(path) for key, value in row.items()}
            for path in trained(runs, kind=kind, limit=limit)
        ]
        assert len(finals) == len(group.done) == seeds
        for figure in MEANS:
            assert group.mean(figure) == fmean(final[figure.key] for final in finals)
        assert (group.valid, group.cost, group.macs_per_token) == (
            group.mean(figures.VALID.of(BPB)),
            group.mean(figures.EXECUTED_FLOPS),
            group.mean(figures.PAPER_MACS),
        )
        bpb = [final["final/valid_bpb"] for final in finals]
        assert group.spread == (stdev(bpb) if seeds > 1 else None)


def test_a_copied_folder_is_no_seed_and_is_told(runs: Runs, tmp_path: Path) -> None:
    original, *_ = trained(runs, kind="adaptive", limit="12")
    copy = Path(shutil.copytree(original, tmp_path / "copy"))
    found = compare("copied", {original: {}, copy: {}})
    assert [run.path for run in found.runs] == [original]
    assert found.groups[0].spread is None
    assert "Left out as copies of other folders: copy." in finding(found, 0.02)


def test_runs_on_other_data_are_no_seeds(runs: Runs, tmp_path: Path) -> None:
    one, two = trained(runs, kind="adaptive", limit="12")
    elsewhere = Path(shutil.copytree(two, tmp_path / "elsewhere"))
    (elsewhere / "source.json").write_text(json.dumps({"data_sha256": "0123456789abcdef"}))
    found = compare("edited", {one: {}, elsewhere: {}})
    assert len(found.groups) == 2
    assert found.varied == ["data.sha256"]
    assert "data.sha256=0123456789ab" in {group.label for group in found.groups}
    assert finding(found, 0.02).startswith(
        "The runs are on different data: 2 texts, whose scores are not comparable; each is ranked "
        "apart. On "
    )
    assert [len(ranking.groups) for ranking in found.rankings] == [1, 1]


def test_a_curve_is_the_mean_of_the_evaluations_of_the_seeds_that_are_done(
    comparison: Comparison, runs: Runs
) -> None:
    curve = group_of(comparison, "span=adaptive span.limit=24").curve()
    assert curve is not None
    evaluations = [
        [row for row in rows(path) if "valid/bpb" in row]
        for path in trained(runs, kind="adaptive", limit="24")
    ]
    assert curve.steps.tolist() == [6, 12, 18, 24]
    for values, key in (
        (curve.valid, "valid/bpb"),
        (curve.tokens, "tokens"),
        (curve.flops, "flops/executed_training"),
    ):
        found = np.array([[row[key] for row in of_run] for of_run in evaluations])
        assert values == pytest.approx(found.mean(0), rel=1e-12)
    found = np.array([[row["valid/bpb"] for row in of_run] for of_run in evaluations])
    assert curve.spread == pytest.approx(found.std(0, ddof=1))


def test_runs_that_are_not_done_are_of_their_group_and_in_none_of_its_figures(
    comparison: Comparison,
) -> None:
    group = group_of(comparison, "span=adaptive span.limit=24")
    (stopped,) = group.not_done
    assert (stopped.seed, stopped.state.state, stopped.state.step) == ("3", "resumable", 12)
    own = stopped.curve()
    assert own is not None
    assert own.steps.tolist() == [6, 12]
    assert own.valid[-1] == stopped.quick == rows(stopped.path)[-1]["valid/bpb"]
    (waiting,) = group_of(comparison, "span=adaptive span.limit=12").not_done
    assert (waiting.seed, waiting.state.state, waiting.curve()) == ("3", "waiting", None)


def test_spans_are_in_the_order_of_layers_and_heads(comparison: Comparison) -> None:
    run = comparison.runs[-2]
    heads = {
        f"span/layer_{layer:02d}/head_{head}": 20.0 * layer + head
        for layer in (0, 1)
        for head in range(12)
    }
    many = dataclasses.replace(run, rows=[{"step": 1, "valid/bpb": 2.0, **heads}])
    steps, spans_SLH = many.spans()
    assert steps == [1]
    assert spans_SLH.tolist() == [[[*range(12)], [*range(20, 32)]]]


def test_differences_are_the_keys_in_which_configurations_differ(comparison: Comparison) -> None:
    keys, values = comparison.differences()
    of_learned = ["span.ramp", "span.loss_coefficient", "span.initial_fraction"]
    assert keys == ["span", "span.limit", *of_learned]
    assert values[0][:3] == ["fixed", "12", ""]
    assert values[2][:3] == ["adaptive", "12", "4.0"]


def test_runs_of_no_sweep_are_told_apart_by_their_configurations(runs: Runs) -> None:
    found = compare("all", {path: {} for path in runs if is_done(path)})
    assert [group.label for group in found.groups] == [
        "span=adaptive span.limit=12",
        "span=adaptive span.limit=24",
        "span=fixed span.limit=12",
        "span=fixed span.limit=24",
    ]
    assert [len(group.runs) for group in found.groups] == [2, 2, 1, 1]


def test_a_seed_that_has_not_begun_may_come_first(runs: Runs) -> None:
    reordered = {path: runs[path] for path in sorted(runs, key=lambda path: path.exists())}
    found = compare("reordered", reordered)
    group = found.groups[0]
    assert group.runs[0].state.state == "waiting"
    assert (group.label, group.span_limit) == ("span=adaptive span.limit=12", 12)
    assert len(group.done) == 2
    _, values = found.differences()
    assert values[0][:3] == ["adaptive", "12", "4.0"]


def test_thinning_keeps_the_last_of_points_evenly_apart() -> None:
    assert thinned(4, 4) == [0, 1, 2, 3]
    assert thinned(10, 4) == [0, 3, 6, 9]
    assert thinned(1000, 500)[-1] == 999
    assert all(len(thinned(count, 50)) <= 50 for count in range(1, 300))


def test_numbers_in_legends_have_four_digits_and_no_more_letters_than_given() -> None:
    for value, message in (
        ("0.0012163046", "0.001216"),
        ("2.2873528064232698e-05", "2.287e-05"),
        ("65536", "65536"),
        ("2e-6", "2e-6"),
        ("adam", "adam"),
    ):
        assert readable(value) == message


def test_a_curve_goes_through_the_evaluations_that_all_seeds_have(
    runs: Runs, tmp_path: Path
) -> None:
    """A row was lost, as by a disk that was full."""
    one, two = (
        Path(shutil.copytree(path, tmp_path / path.name))
        for path in trained(runs, kind="adaptive", limit="12")
    )
    lines = (two / "metrics.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] != 12]
    (two / "metrics.jsonl").write_text("".join(kept))
    (group,) = compare("lost", {one: {}, two: {}}).groups
    curve = group.curve()
    assert curve is not None
    assert curve.steps.tolist() == [6, 18, 24]
    assert len(curve.spread) == 3


@pytest.mark.parametrize("file", ["metrics.jsonl", "status.json", "source.json", "config.yaml"])
def test_a_damaged_run_is_told_and_the_others_are_compared(
    runs: Runs, tmp_path: Path, file: str
) -> None:
    one, two = (
        Path(shutil.copytree(path, tmp_path / path.name))
        for path in trained(runs, kind="adaptive", limit="12")
    )
    (two / file).write_text("{: no more\n")
    found = compare("damaged", {one: {}, two: {}})
    assert [run.path for run in found.runs] == [one]
    (note,) = notes(found)
    assert note.startswith(f"Left out: {two / file}: damaged (")
    with pytest.raises(RunError, match="damaged"):
        compare("damaged", {two: {}})


def test_one_text_at_two_paths_is_one_text(runs: Runs, tmp_path: Path) -> None:
    one, two = (
        Path(shutil.copytree(path, tmp_path / path.name))
        for path in trained(runs, kind="adaptive", limit="12")
    )
    config = (two / "config.yaml").read_text()
    (two / "config.yaml").write_text(config.replace("sums.txt", "elsewhere/copy.txt"))
    for varied in ({}, {"data.path": "typed"}):
        found = compare("two paths", {one: varied, two: dict.fromkeys(varied, "other")})
        (group,) = found.groups
        assert len(group.done) == 2
