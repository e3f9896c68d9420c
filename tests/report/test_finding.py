"""What the finding says, and what it does not dare to say."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from adaspan.report.comparison import Comparison, compare
from adaspan.report.finding import finding, notes
from adaspan.report.groups import Group
from adaspan.runs.folder import RunFolder
from adaspan.runs.measures import BPC
from adaspan.runs.slices import Slices
from adaspan.status.find import Runs
from tests.conftest import Launch
from tests.report.sweeps import group, sweep


def noise(configurations: int, seeds: int, seed: int) -> Comparison:
    """Configurations that differ in nothing but their cost."""
    chance = np.random.default_rng(seed)
    return sweep(
        *(
            group(f"{dim}", chance.normal(1.1, 0.02, seeds).tolist(), flops=1000.0 + 50 * dim)
            for dim in range(configurations)
        )
    )


def test_a_winner_is_named_where_seeds_show_one() -> None:
    shown = finding(
        sweep(group("64", [1.50, 1.51, 1.49]), group("128", [1.10, 1.11, 1.09], flops=2000.0)),
        margin=0.02,
    )
    assert shown == (
        "Best: model.dim=128, 1.100 ± 0.010 (3 seeds) bpb on valid, 2.000 on test, at 2.00k FLOPs "
        "per token executed (400 multiply-adds, as the paper counts) and a mean span of 8.0 "
        "tokens; better than the other one (3 seeds, 95 %). No run that is clearly cheaper is "
        "known to come within 0.02 bpb of it (95 %)."
    )


def test_what_cannot_be_told_from_the_leader_is_counted_and_named() -> None:
    shown = finding(
        sweep(
            group("512", [1.10, 1.12], flops=4000.0),
            group("256", [1.11, 1.13], flops=2000.0),
            group("128", [1.11, 1.12], flops=1000.0),
            *(group(f"{dim}", [2.0, 2.02]) for dim in range(10, 20)),
        ),
        margin=0.02,
    )
    assert shown.startswith("Leads: model.dim=512, 1.110 ± 0.014 (2 seeds) bpb on valid")
    assert (
        "; 2 of the 12 others cannot be told from it (2 seeds, 95 %): model.dim=128; "
        "model.dim=256. " in shown
    )
    assert (
        "No run that is clearly cheaper is known to come within 0.02 bpb of it (95 %). Of those "
        "that cannot be told from it the cheapest is model.dim=128: 1.115 ± 0.007 (2 seeds) bpb on "
        "valid, at 1.00k FLOPs per token executed (400 multiply-adds, as the paper counts) and "
        "4.00 times cheaper." in shown
    )


def test_sixty_configurations_of_noise_have_no_winner() -> None:
    for seeds in (2, 3, 5):
        shown = finding(noise(60, seeds, seed=seeds), margin=0.02)
        assert shown.startswith("Leads: "), shown
        assert "59 of the 59 others cannot be told from it" in shown
        assert "No run that is clearly cheaper is known to come within 0.02 bpb" in shown


def test_one_seed_names_no_winner_and_says_that_seeds_are_missing() -> None:
    shown = finding(noise(60, 1, seed=1), margin=0.02)
    assert shown.startswith("Lowest score: ")
    assert (
        "Each has one seed, so what another would change is not known, and no winner can be named. "
        "No run that is clearly cheaper came within 0.02 bpb of it." in shown
    )
    for word in ("Best", "better", "95 %"):
        assert word not in shown


def test_the_one_seed_that_is_left_of_a_group_makes_no_winner() -> None:
    others = [group(f"{dim}", [2.0 + dim, 2.01 + dim, 2.02 + dim]) for dim in range(3)]
    shown = finding(sweep(group("9", [1.0]), *others), margin=0.02)
    assert shown.startswith("Leads: model.dim=9, 1.000 bpb on valid")
    assert "Only one seed of it is done: too few to call it the best." in shown
    assert finding(sweep(group("9", [1.0, 1.01]), *others), margin=0.02).startswith("Best: ")


def test_a_leader_that_nothing_undercuts_is_said_to_be_as_cheap_as_any() -> None:
    shown = finding(sweep(group("1", [1.0, 1.1]), group("2", [2.0, 2.1], flops=9e3)), margin=0.02)
    assert shown.endswith(" None of the others is clearly cheaper.")


def test_what_was_not_cheaper_as_executed_is_not_called_cheaper() -> None:
    """The papers' count may say so all the same."""
    one, other = group("1", [1.10, 1.11, 1.12]), group("2", [1.11, 1.10, 1.12])
    fewer = [
        dataclasses.replace(run, rows=[*run.rows, {"flops/paper_macs_per_token": 100.0}])
        for run in other.runs
    ]
    comparison = sweep(one, dataclasses.replace(other, runs=fewer))
    assert "times cheaper" not in finding(comparison, margin=1.0)
    assert comparison.rankings[0].cheaper() == []


def test_the_cheapest_within_the_margin_is_within_it_as_far_as_seeds_can_tell() -> None:
    shown = finding(
        sweep(
            group("1", [1.100, 1.101, 1.102], flops=3000.0),
            group("2", [1.104, 1.105, 1.106], flops=1000.0),
            group("3", [1.119, 1.120, 1.121], flops=500.0),
        ),
        margin=0.02,
    )
    assert "Within 0.02 bpb of it (95 %) the cheapest is model.dim=2: 1.105 ± 0.001" in shown


def test_texts_are_ranked_apart_and_each_is_named() -> None:
    comparison = sweep(
        group("1", [1.1, 1.2], data="aaaa"),
        group("2", [2.1, 2.2], data="aaaa"),
        group("3", [0.5, 0.6], data="bbbb"),
    )
    shown = finding(comparison, margin=0.02)
    assert shown.startswith("The runs are on different data: 2 texts, whose scores are not compar")
    assert "On data.sha256=aaaa: Best: model.dim=1," in shown
    assert "On data.sha256=bbbb: Result: model.dim=3," in shown
    assert [len(ranking.groups) for ranking in comparison.rankings] == [2, 1]
    many = sweep(*(group(f"{i}", [1.0], data=f"text {i}") for i in range(9)))
    assert "6 more rankings are in the table." in finding(many, margin=0.02)


def test_a_mixed_folder_names_a_few_of_the_keys_that_vary() -> None:
    one, other = group("1", [1.0, 1.1]), group("2", [2.0, 2.1])
    keys = {f"key.number_{i}": "a" for i in range(25)}
    comparison = sweep(
        dataclasses.replace(one, varies=keys),
        dataclasses.replace(other, varies=dict.fromkeys(keys, "b")),
    )
    assert finding(comparison, margin=0.02).startswith(
        "Best: key.number_0=a key.number_1=a key.number_2=a key.number_3=a (and 21 more keys), 1.05"
    )


def test_runs_of_another_measure_are_said_to_be_no_match() -> None:
    comparison = dataclasses.replace(sweep(group("1", [1.0])), elsewhere={BPC: 2})
    assert finding(comparison, margin=0.02).endswith(
        "2 other runs have scores in bpc (bits per character): not comparable with these, which "
        "are in bpb (bits per byte); see the report of its own."
    )


def test_the_front_leaves_out_only_what_a_cheaper_run_is_shown_to_beat() -> None:
    comparison = sweep(
        group("1", [1.50, 1.51], flops=1000.0),
        group("2", [1.51, 1.52], flops=2000.0),
        group("3", [1.90, 1.91], flops=3000.0),
        group("4", [1.20, 1.21], flops=4000.0),
    )
    (ranking,) = comparison.rankings
    assert [g.varies["model.dim"] for g in ranking.pareto_front()] == ["1", "2", "4"]
    as_measured = sweep(*(dataclasses.replace(g, runs=g.runs[:1]) for g in comparison.groups))
    (ranking,) = as_measured.rankings
    assert [g.varies["model.dim"] for g in ranking.pareto_front()] == ["1", "4"]


def test_runs_without_a_result_are_no_finding(runs: Runs) -> None:
    comparison = compare("failed", dict([*runs.items()][-2:]))
    assert finding(comparison, margin=0.02) == "None of the 2 runs is done yet."
    assert not comparison.rankings


def with_slices(one: Group, folder: Path, nats: np.ndarray) -> Group:
    """The same, whose only run has kept what slices of valid cost it."""
    (run,) = one.runs
    path = folder / run.name
    path.mkdir()
    Slices(length=50_000, nats=nats).write(RunFolder(path).slices)
    return dataclasses.replace(one, runs=[dataclasses.replace(run, path=path)])


def test_of_one_seed_the_error_of_the_evaluation_is_told(tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    usual = 500 * chance.normal(0.8, 0.1, 100)  # what is hard for one is hard for all
    near, far = (usual + 500 * chance.normal(more, 0.02, 100) for more in (0.0, 0.1))
    costs = {"1": usual, "2": near, "3": far}
    groups = [
        with_slices(
            group(name, [float(nats.sum()) / 50_000 / math.log(2)], 1000.0 * int(name)),
            tmp_path,
            nats,
        )
        for name, nats in costs.items()
    ]
    shown = finding(sweep(*groups), margin=0.02)
    lead, other = sorted(groups[:2], key=lambda one: one.rank)
    assert shown.startswith(f"Lowest score: {lead.label}, ")
    assert (
        "As far as the evaluation goes (bootstrap over slices of valid, 95 %), 1 of the 2 others "
        f"cannot be told from it: {other.label}. Each has one seed, so what another would change "
        "is not known, and no winner can be named." in shown
    )
    alone = finding(sweep(lead, groups[2]), margin=0.02)
    assert "95 %), it is lower than the other one. Each has one seed" in alone
    assert "Best" not in alone
    (ranking,) = sweep(*groups).rankings
    assert groups[2] not in ranking.pareto_front()
    unkept = sweep(lead, group("9", [9.0]))
    assert "cannot be told from it" in finding(unkept, margin=0.02), "whose slices are not known"


PLANNED = {"waiting", "done"}


@pytest.mark.parametrize("typed", [(), ("-m", "train.seed=7", "span.limit=12,24")])
def test_the_command_for_more_seeds_asks_for_them(
    runs: Runs, typed: tuple[str, ...], launch_here: Launch
) -> None:
    fixed = {path: varies for path, varies in runs.items() if varies["span"] == "fixed"}
    (line,) = notes(compare("one seed", fixed, typed))
    command = line.partition(": ")[2].split()
    assert command[:2] == ["python", "launch.py"]
    end = launch_here(*command[2:], "hydra.launcher.dry_run=true")
    assert end.returncode == 0, end.stderr
    lines = [line.replace("│", " ").split() for line in end.stdout.splitlines()]
    planned = [line for line in lines if PLANNED & {*line}]
    seeds = [words[1 if typed else 0] for words in planned]
    assert seeds == ["1", "2", "3"] * (2 if typed else 1)


def test_several_seeds_need_no_more() -> None:
    assert notes(sweep(group("1", [1.0, 1.1]), group("2", [2.0]))) == []
    assert notes(sweep(group("1", [1.0]))) == []


def test_the_front_does_not_contradict_the_finding() -> None:
    """What is worse than a leader that is cheaper is not on it."""
    leader = group("8", [2.09, 2.13, 2.16], flops=1000.0)
    others = [
        group("16", [2.20, 2.24, 2.30], flops=1200.0),
        group("32", [2.28, 2.29, 2.31], flops=1300.0),
        group("64", [2.185, 2.20, 2.22], flops=1400.0),
    ]
    comparison = sweep(leader, *others)
    assert finding(comparison, margin=0.02).startswith("Best: model.dim=8, ")
    assert comparison.rankings[0].pareto_front() == [leader]
