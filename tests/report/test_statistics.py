"""What a report claims is false in at most one sweep of twenty, and is found where it can be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from adaspan.report.statistics import (
    Evidence,
    chance_of_ratio,
    critical_distances,
    from_seeds,
    from_slices,
)

SWEEPS = 1000
# Of a share of 1,000 sweeps that are 5 % in truth: 3 standard deviations.
CHANCE = 3 * math.sqrt(0.05 * 0.95 / SWEEPS)


def sweeps(
    means: Sequence[float],
    seeds: Sequence[int],
    chance: np.random.Generator,
    scatter: Sequence[float] = (),
) -> list[Evidence]:
    """Configurations of these true means, whose seeds scatter by 1 or as they say."""
    found = []
    scatters = scatter or [1.0] * len(means)
    for _ in range(SWEEPS):
        evidence = from_seeds(
            [
                chance.normal(mean, deviation, size=n).tolist()
                for mean, n, deviation in zip(means, seeds, scatters, strict=True)
            ]
        )
        assert evidence is not None
        found.append(evidence)
    return found


@pytest.mark.parametrize(
    ("configurations", "degrees", "quantile"),
    # Of the studentized range, as tables print it (Miller, table B.II.2; Harter, 1960).
    [
        (2, 1, 17.97),
        (2, 10, 3.151),
        (3, 3, 5.910),
        (3, 10, 3.877),
        (5, 20, 4.232),
        (10, 60, 4.646),
        (20, 120, 5.126),
    ],
)
def test_critical_values_are_those_of_the_tables(
    configurations: int, degrees: int, quantile: float
) -> None:
    found = critical_distances(configurations, degrees)
    assert found[-1] * math.sqrt(2) == pytest.approx(quantile, rel=1e-3)
    assert np.all(np.diff(found[1:]) > 0)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_pure_noise_has_no_winner(seeds: int) -> None:
    noise = sweeps([0.0] * 60, [seeds] * 60, np.random.default_rng(seeds))
    assert np.mean([one.has_winner for one in noise]) <= 0.05
    assert np.mean([one.worse.any() for one in noise]) <= 0.05 + CHANCE
    assert np.mean([one.better.any() for one in noise]) <= 0.05 + CHANCE


# The true means, in deviations of a seed: where a false claim is likeliest, or might be.
HARD = {
    "two": ([0, 0], [3, 3]),
    "two that lead": ([0, 0, *[9] * 10], [3] * 12),
    "three": ([0, 0, 0], [2, 2, 2]),
    "a crowd that leads": ([*[0] * 5, *[4] * 20], [2] * 25),
    "a little better each": (np.linspace(0, 2, 12).tolist(), [3] * 12),
    "seeds as they come": ([*[0] * 6, *[2] * 6], [1, 2, 3, 4, 5, 1] * 2),
    "one seed against many": ([0, 0], [1, 5]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD)
def test_no_claim_is_false_more_often_than_it_says(name: str) -> None:
    means, seeds = np.array(HARD[name][0]), HARD[name][1]
    found = sweeps(means.tolist(), seeds, np.random.default_rng(7))
    false_winner = [one.has_winner and (means <= means[one.leader]).sum() > 1 for one in found]
    false_worse = [bool((one.worse & (means <= means[one.leader])).any()) for one in found]
    false_better = [bool((one.better & (means[:, None] >= means)).any()) for one in found]
    for false in (false_winner, false_worse):
        assert np.mean(false) <= 0.05 + CHANCE
    assert np.mean(false_better) <= 2 * (0.05 + CHANCE), "two claims, of the leader and of pairs"


def power(configurations: int, difference: float, degrees: int) -> float:
    """How often one of several, which is better by so many standard errors of a difference than all
    others, is found to be: the chance that it lies below each by what two equal ones are beyond in
    5 % of sweeps. For two configurations no unbiased test has a greater one.
    """
    (critical,) = critical_distances(2, degrees)[2:]
    places = np.linspace(-8, 8, 641)
    density = np.exp(-(places**2) / 2)
    deviations = np.linspace(0.001, 1 + 10 / math.sqrt(2 * degrees), 400)
    logs = (degrees - 1) * np.log(deviations) - degrees * deviations**2 / 2
    of_deviation = np.exp(logs - logs.max())
    beyond = places + math.sqrt(2) * (critical * deviations[:, None] - difference)
    above = np.array([0.5 * math.erfc(x / math.sqrt(2)) for x in beyond.ravel()])
    found = (above.reshape(beyond.shape) ** (configurations - 1)) @ density / density.sum()
    return float(found @ of_deviation / of_deviation.sum())


@pytest.mark.slow
@pytest.mark.parametrize("difference", [2, 4, 6])
@pytest.mark.parametrize(("configurations", "seeds"), [(2, 3), (5, 3), (60, 2)])
def test_a_difference_is_found_as_often_as_theory_allows(
    configurations: int, seeds: int, difference: int
) -> None:
    better = -difference * math.sqrt(2 / seeds)
    means = [better, *[0.0] * (configurations - 1)]
    found = sweeps(means, [seeds] * configurations, np.random.default_rng(difference))
    share = np.mean([one.has_winner and one.leader == 0 for one in found])
    expected = power(configurations, difference, configurations * (seeds - 1))
    assert share == pytest.approx(expected, abs=3 * math.sqrt(0.25 / SWEEPS))


@pytest.mark.slow
def test_a_configuration_that_diverges_hides_no_difference_among_the_others() -> None:
    means, seeds = [-6 * math.sqrt(2 / 3), *[0.0] * 18, 100.0], [3] * 20
    found = sweeps(means, seeds, np.random.default_rng(2), [*[1.0] * 19, 80.0])
    worse = np.mean([one.worse[1:19].mean() for one in found])
    assert worse > 0.9, "of the 18 that do not diverge"
    assert not any(one.leader == 19 and one.has_winner for one in found)


@pytest.mark.slow
def test_a_configuration_that_is_good_by_luck_is_no_winner() -> None:
    """Its seeds scatter far more than those of all others, which are as good."""
    found = sweeps([0.0] * 20, [3] * 20, np.random.default_rng(4), [15.0, *[1.0] * 19])
    lucky = [one for one in found if one.leader == 0]
    assert len(lucky) > SWEEPS / 3
    assert np.mean([one.has_winner for one in found]) <= 0.05 + CHANCE


@pytest.mark.parametrize(
    ("ratio", "above", "below", "chance"),
    # Quantiles of F at 5 % and 1 %, as tables print them.
    [(7.71, 1, 4, 0.05), (4.10, 2, 10, 0.05), (4.13, 3, 60, 0.01), (2.87, 4, 20, 0.05)],
)
def test_the_chance_of_a_ratio_of_variances_is_that_of_the_tables(
    ratio: float, above: int, below: int, chance: float
) -> None:
    assert chance_of_ratio(ratio, above, below) == pytest.approx(chance, rel=0.01)


def test_one_seed_says_nothing_of_seeds() -> None:
    assert from_seeds([[1.0], [2.0], [3.0]]) is None
    assert from_seeds([[1.0], [2.0, 2.1], [3.0]]) is not None


def test_one_seed_beside_others_is_less_certain_than_they_are() -> None:
    evidence = from_seeds([[1.0, 1.2, 1.1], [2.0], [1.0, 1.2, 1.1]])
    assert evidence is not None
    assert evidence.errors[0, 1] / evidence.errors[0, 2] == pytest.approx(math.sqrt(4 / 2))
    assert evidence.degrees == 4


def slices(count: int, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What slices of a text cost a model, some far more than others, and their tokens."""
    tokens = chance.integers(400, 600, count).astype(float)
    return tokens * chance.normal(2.0, 0.5, count), tokens


def test_the_error_of_an_evaluation_is_that_of_the_bootstrap_over_slices() -> None:
    chance = np.random.default_rng(3)
    one, tokens = slices(50, chance)
    other = one + tokens * chance.normal(0.0, 0.05, 50)
    scores = [one.sum() / tokens.sum(), other.sum() / tokens.sum()]
    drawn = chance.integers(0, 50, (20_000, 50))
    differences = (other - one)[drawn].sum(1) / tokens[drawn].sum(1)
    found = from_slices([one, other], tokens, scores).errors[0, 1]
    assert found == pytest.approx(differences.std(), rel=0.03)
    alone = from_slices([one, one * 1.0], tokens, scores[:1] * 2).errors
    assert alone[0, 1] == 0.0, "what is hard for both is no error of the difference"


def test_an_evaluation_that_was_not_kept_tells_nothing_apart() -> None:
    one, tokens = slices(50, np.random.default_rng(3))
    found = from_slices([one, None], tokens, [2.0, 9.0])
    assert not found.worse.any()
    assert found.most_above(1, 0) == math.inf


def test_what_seeds_tell_apart_by_hand() -> None:
    """Two configurations: Student's t with 4 degrees of freedom, 2.776 at 95 %."""
    for gap, is_told in ((2.77, False), (2.78, True)):
        error = math.sqrt(1.0 * 2 / 3)
        seeds = [-1.0, 0.0, 1.0]
        evidence = from_seeds([seeds, [score + gap * error for score in seeds]])
        assert evidence is not None
        assert evidence.has_winner is is_told
        assert evidence.worse.tolist() == [False, is_told]
        assert evidence.most_above(1, 0) == pytest.approx((gap + 2.776) * error, rel=1e-3)
