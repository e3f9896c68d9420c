"""Groups whose scores are comparable, the best first, and what these scores can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adaspan.report.groups import Group
from adaspan.report.statistics import FEWEST_SLICES, Evidence, from_seeds, from_slices
from adaspan.runs import figures

# A group counts as cheaper from this ratio of FLOPs on.
WORTH_MENTIONING = 1.05


@dataclass(frozen=True)
class Ranking:
    """Groups with a result, of one text and one measure.

    Args:
        groups: the lowest score first; one at least.
    """

    groups: Sequence[Group]

    @property
    def leader(self) -> Group:
        """The group with the lowest score."""
        return self.groups[0]

    @property
    def has_seeds(self) -> bool:
        """Whether a group has several: only then is it known what a seed changes."""
        return any(len(group.done) > 1 for group in self.groups)

    @cached_property
    def evidence(self) -> Evidence | None:
        """What the scores can tell apart: as far as seeds say, or where each group has one, as far
        as the text does. None if nothing is known of how uncertain they are.
        """
        scores = [[score_of(run.last) for run in group.done] for group in self.groups]
        return from_seeds(scores) or self._of_one_text()

    def _of_one_text(self) -> Evidence | None:
        slices = [group.done[0].slices for group in self.groups]
        first = next(filter(None, slices), None)
        measure = self.leader.measure
        if first is None or measure is None or len(first.nats) < FEWEST_SLICES:
            return None
        costs = [
            one.nats * measure.per_nat(group.rank) if one and one.length == first.length else None
            for group, one in zip(self.groups, slices, strict=True)
        ]
        return from_slices(costs, first.tokens, [group.rank for group in self.groups])

    @property
    def has_winner(self) -> bool:
        """Whether the leader is better than every other group, as far as seeds can tell: its own,
        too, for how the others scatter does not say that it scatters no more.
        """
        has_evidence = self.has_seeds and self.evidence is not None and self.evidence.has_winner
        return has_evidence and len(self.leader.done) > 1

    def as_good(self) -> list[Group]:
        """The groups that cannot be told from the leader, the best first."""
        if self.evidence is None:
            return list(self.groups[1:])
        worse = self.evidence.worse
        return [group for index, group in enumerate(self.groups) if index and not worse[index]]

    def cheaper(self) -> list[Group]:
        """The groups that are clearly cheaper than the leader, the cheapest first."""
        most = self.leader.cost
        cheaper = [g for g in self.groups if g.cost and most and most >= WORTH_MENTIONING * g.cost]
        return sorted(cheaper, key=cost_of)

    def most_above(self, group: Group) -> float:
        """By how much its score may be above the leader's at most; as measured, if nothing is known
        of how uncertain that is.
        """
        if self.evidence is None:
            return group.rank - self.leader.rank
        return self.evidence.most_above(self.groups.index(group), 0)

    def pareto_front(self) -> list[Group]:
        """Groups than which no cheaper one, nor one that costs the same, is better, the cheapest
        first: better as far as the scores can tell.
        """
        scores = np.array([group.rank for group in self.groups])
        costs = np.array([cost_of(group) for group in self.groups])
        better = self.evidence.better if self.evidence else scores[:, None] < scores
        is_beaten = (better & (costs[:, None] <= costs)).any(0) | np.isinf(costs)
        front = [group for group, out in zip(self.groups, is_beaten, strict=True) if not out]
        return sorted(front, key=lambda group: (cost_of(group), group.rank))


def lowest_so_far(groups: Sequence[Group]) -> list[Group]:
    """Groups with a score below that of every cheaper one, as measured, the cheapest first."""
    lowest: list[Group] = []
    for group in sorted(groups, key=lambda group: (cost_of(group), group.rank)):
        if group.cost and (not lowest or group.rank < lowest[-1].rank):
            lowest.append(group)
    return lowest


def cost_of(group: Group) -> float:
    """Less for a cheaper group; those whose cost is not known come last."""
    return figures.EXECUTED_FLOPS.rank(group.cost)


def score_of(row: figures.Row) -> float:
    """The score of a run that is done."""
    score = figures.VALID.value(row)
    assert score is not None
    return score
