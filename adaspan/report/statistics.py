"""What scores can tell apart: configurations of a few seeds each, or of one seed on one text.

The best of many is best by chance, too: of 60 equal configurations the first lies 2.3 standard
errors below the mean. So every claim counts the candidates, and each of these is false in at most
one sweep of twenty:

- a winner: the leader is better than every other configuration;
- which of the others are worse than the leader; the rest cannot be told from it (in 5.4 % of sweeps
  of three equal configurations, less of others: a winner, who needs less, makes all others worse);
- of any two, which is better (the Pareto front, and what is at most so much worse).

Scores are assumed to be normal around a mean of their own, with one deviation for all
configurations, which is pooled over all that have several seeds: that makes the most of two or
three. One that scatters far more than the others, such as one that diverges with some seeds, has a
deviation of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
# Fewer slices of a text say too little of how much they scatter.
FEWEST_SLICES = 20
# Of a sweep of equal configurations that one of them is said to scatter more; and the degrees of
# freedom of the others that can say so.
_CHANCE_OF_WILD, _FEWEST_DEGREES = 0.01, 4

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """Scores of several configurations, less is better, and how uncertain their differences are.

    Args:
        means: of each configuration, shape (K,).
        errors: standard error of the difference of any two, shape (K, K); infinite where it is not
            known.
        degrees: of freedom of these errors.
    """

    means: Array
    errors: Array
    degrees: int

    @property
    def leader(self) -> int:
        """The configuration with the lowest mean."""
        return int(self.means.argmin())

    @cached_property
    def _distances(self) -> Array:
        """From the leader to each, in standard errors; its own is 0."""
        differences = self.means - self.means[self.leader]
        return _in_errors(differences, self.errors[self.leader])

    @property
    def has_winner(self) -> bool:
        """Whether the leader is better than each of the others.

        The second best must lie as far away as if there were no others: the more of them are as
        good, the less likely one of them leads by far (Gutmann and Maymin, "Is the selected
        population the best?", Annals of Statistics 15, 1987). No test that is as often wrong for
        two configurations finds a winner more often.
        """
        others = np.delete(self._distances, self.leader)
        return bool(others.size) and bool(others.min() > critical_distances(2, self.degrees)[2])

    @cached_property
    def worse(self) -> NDArray[np.bool_]:
        """Which are worse than the leader, shape (K,).

        From the farthest on, each is compared with what the range of so many equal ones may be,
        down to the first that is not beyond it: the step-down test of Newman and Keuls, of which
        only comparisons with the leader are used.
        """
        worse = np.full(len(self.means), self.has_winner)
        worse[self.leader] = False
        if self.has_winner:
            return worse
        critical = critical_distances(len(self.means), self.degrees)
        farthest_first = np.argsort(-self._distances, kind="stable")
        for rank, index in zip(range(len(self.means), 1, -1), farthest_first, strict=False):
            if self._distances[index] <= critical[rank]:
                break
            worse[index] = True
        return worse

    @cached_property
    def better(self) -> NDArray[np.bool_]:
        """Whether the first of any two is better, shape (K, K): all pairs are counted, as Tukey and
        Kramer do. To that is added what `worse` says of the leader, so that nothing contradicts it:
        together they are false in at most two sweeps of twenty.
        """
        distances = _in_errors(self.means[None, :] - self.means[:, None], self.errors)
        better: NDArray[np.bool_] = distances > self._critical_of_all
        better[self.leader] |= self.worse
        return better

    def most_above(self, one: int, other: int) -> float:
        """By how much one may be above another at most, likewise; infinite if that is not known."""
        error = self._critical_of_all * self.errors[one, other] if one != other else 0.0
        return float(self.means[one] - self.means[other] + error)

    @property
    def _critical_of_all(self) -> float:
        return float(critical_distances(len(self.means), self.degrees)[-1])


def from_seeds(scores: Sequence[Sequence[float]]) -> Evidence | None:
    """What the scores of seeds say; None if no configuration has two.

    Args:
        scores: of the seeds of each configuration, one at least.
    """
    means = np.array([fmean(of_one) for of_one in scores])
    own = np.array([len(of_one) - 1 for of_one in scores])  # degrees of freedom
    if not own.any():
        return None
    squares = np.array(
        [
            float(((np.asarray(of_one) - mean) ** 2).sum())
            for of_one, mean in zip(scores, means, strict=True)
        ]
    )
    wild = _wild(squares, own)
    degrees = int(own[~wild].sum())
    variances = np.full(len(scores), squares[~wild].sum() / degrees)
    for index in np.flatnonzero(wild):
        # Its own, of few seeds: as much larger as these may be by chance.
        alone, together = (
            critical_distances(len(scores), of)[-1] for of in (int(own[index]), degrees)
        )
        variances[index] = squares[index] / own[index] * (alone / together) ** 2
    of_mean = variances / (own + 1)
    return Evidence(means, np.sqrt(of_mean[:, None] + of_mean[None, :]), degrees)


def _wild(squares: Array, degrees: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which configurations scatter so much more than the others that they are another matter, such
    as one that diverges with some seeds: by an F test of each against the others that are left, one
    after another, as far as one in a hundred sweeps of equal ones has one.

    Args:
        squares: sums of squares around the mean of each, shape (K,).
        degrees: of freedom of each, shape (K,).
    """
    wild = np.zeros(len(squares), dtype=bool)
    while True:
        tame = ~wild & (degrees > 0)
        of_others = np.where(tame, degrees[tame].sum() - degrees, 0)
        tested = np.flatnonzero(tame & (of_others >= _FEWEST_DEGREES))
        variances = squares[tested] / degrees[tested]
        if not tested.size or not variances.any():
            return wild
        index = tested[variances.argmax()]
        others = (squares[tame].sum() - squares[index]) / of_others[index]
        most = _most_ratio(
            _CHANCE_OF_WILD / tested.size, int(degrees[index]), int(of_others[index])
        )
        if variances.max() <= most * others:
            return wild
        wild[index] = True


def from_slices(costs: Sequence[Array | None], tokens: Array, scores: Sequence[float]) -> Evidence:
    """What one text says of configurations of one seed each: how other slices of it had ranked
    them. What another seed had changed it does not know.

    The same slices are hard for all, so that differences are taken slice by slice. Their standard
    error is that to which the bootstrap over slices tends, of a mean that is weighted by tokens
    (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 6).

    Args:
        costs: of each configuration, what each slice cost, shape (S,), in the unit of the scores
            times tokens; None if it is not known.
        tokens: of each slice, shape (S,).
        scores: on the whole text.
    """
    count, total = len(costs), float(tokens.sum())
    errors = np.full((count, count), np.inf)
    known = [index for index, cost in enumerate(costs) if cost is not None]
    if known:
        of_known = np.stack([cost for cost in costs if cost is not None])
        per_token = (of_known.sum(1) / total)[:, None]
        left = of_known - per_token * tokens  # of each slice, beyond what is usual: (K, S)
        products = left @ left.T
        squares = products.diagonal()
        variances = np.maximum(squares[:, None] + squares[None, :] - 2 * products, 0)
        errors[np.ix_(known, known)] = np.sqrt(variances) / total
    return Evidence(np.array(scores), errors, len(tokens) - 1)


@lru_cache(maxsize=64)
def critical_distances(most: int, degrees: int) -> Array:
    """How far apart the first and the last of p equal configurations may lie, in standard errors of
    a difference, p up to `most`: quantiles of the studentized range, divided by √2.

    With W(w) the distribution of the range of p normal values, and s that of √(χ²/degrees),

        P(range / s <= q) = ∫ W(q s) f(s) ds,
        W(w) = p ∫ φ(z) (Φ(z) - Φ(z - w))^(p-1) dz

    (Miller, "Simultaneous Statistical Inference", 1981, chapter 2), summed over fine grids.

    Returns:
        Shape (most + 1,); those of 0 and 1 are 0.
    """
    ranges = np.linspace(0, 16, 801)
    places = np.linspace(-9, 9, 181)
    fine = np.linspace(-30, 10, 40_001)
    below = np.interp(
        np.stack([places[None, :].repeat(len(ranges), 0), places - ranges[:, None]]),
        fine,
        _normal_below(fine),
    )
    within = below[0] - below[1]  # (ranges, places)
    density = np.exp(-(places**2) / 2) / math.sqrt(2 * math.pi) * (places[1] - places[0])
    deviations, weights = _deviations(degrees)
    critical = np.zeros(most + 1)
    power = np.ones_like(within)
    for count in range(2, most + 1):
        power *= within
        of_range = np.minimum(count * power @ density, 1.0)
        low, high = critical[count - 1] * math.sqrt(2), 4000.0
        while high - low > 1e-6 * high:
            middle = (low + high) / 2
            reached = np.interp(middle * deviations, ranges, of_range) @ weights
            low, high = (middle, high) if reached < CONFIDENCE else (low, middle)
        critical[count] = high / math.sqrt(2)
    return critical


def _deviations(degrees: int) -> tuple[Array, Array]:
    """Values of √(χ²/degrees), and the probability of each."""
    width = 10 / math.sqrt(2 * degrees)
    values = np.linspace(max(1e-6, 1 - width), 1 + width, 1001)
    logs = (degrees - 1) * np.log(values) - degrees * values**2 / 2
    weights = np.exp(logs - logs.max())
    weights[[0, -1]] /= 2  # the trapezoid rule
    return values, weights / weights.sum()


@lru_cache(maxsize=64)
def _most_ratio(chance: float, above: int, below: int) -> float:
    """The ratio of two variances beyond which one is with this chance."""
    low, high = 1.0, 1e9  # it is never below 1
    while high - low > 1e-3 * high:
        middle = math.sqrt(low * high)
        likelier = chance_of_ratio(middle, above, below) > chance
        low, high = (middle, high) if likelier else (low, middle)
    return high


def chance_of_ratio(ratio: float, above: int, below: int) -> float:
    """The chance of a larger ratio of two variances of so many degrees of freedom that are equal in
    truth: the tail of the F distribution, the chance of χ²(above) being larger than what each χ² of
    `below` asks for.
    """
    deviations, weights = _deviations(below)
    half = above * ratio * deviations**2 / 2
    # Abramowitz and Stegun, 26.4.4 and 26.4.5: from 1 or 2 degrees of freedom up, two by two.
    power = above % 2 / 2
    tail = 2 * (1 - _normal_below(np.sqrt(2 * half))) if above % 2 else np.zeros_like(half)
    while power < above / 2:
        tail = tail + np.exp(power * np.log(half) - half - math.lgamma(power + 1))
        power += 1
    return float(tail @ weights)


def _normal_below(values: Array) -> Array:
    """The normal distribution function."""
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in values])


def _in_errors(differences: Array, errors: Array) -> Array:
    """Differences in units of their standard errors; of no difference 0, though none is known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(differences) == 0, 0.0, np.divide(differences, errors))
