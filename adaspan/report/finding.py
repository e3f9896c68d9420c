"""What was found out, in a few sentences that say no more than the scores bear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adaspan.report.comparison import Comparison
from adaspan.report.groups import Group
from adaspan.report.labels import brief
from adaspan.report.ranking import Ranking
from adaspan.report.statistics import CONFIDENCE
from adaspan.report.table import unfinished
from adaspan.runs.folder import DATA_KEY
from adaspan.runs.measures import Measure
from adaspan.units import si

# So many texts and groups are named; of more, how many.
_MOST_TEXTS, _MOST_GROUPS = 3, 3
_SURE = f"{CONFIDENCE:.0%}".replace("%", " %")


def finding(comparison: Comparison, margin: float) -> str:
    """The result in a few sentences.

    Args:
        comparison: the runs.
        margin: by how much the cheapest run may be worse than the best.
    """
    return " ".join(_sentences(comparison, margin))


def _sentences(comparison: Comparison, margin: float) -> Iterator[str]:
    rankings, runs = comparison.rankings, len(comparison.runs)
    if not rankings:
        yield f"None of the {runs} runs is done yet." if runs > 1 else "The run is not done yet."
        return
    if len(rankings) > 1:
        yield (
            f"The runs are on different data: {len(rankings)} texts, whose scores are not "
            "comparable; each is ranked apart."
        )
    for ranking in rankings[:_MOST_TEXTS]:
        if len(rankings) > 1:
            yield f"On {_text_of(ranking, rankings)}:"
        yield from _of_ranking(ranking, comparison.measure, margin)
    if more := len(rankings) - _MOST_TEXTS if len(rankings) > _MOST_TEXTS else 0:
        yield f"{_count(more, 'more text is', 'more texts are')} in the table."
    yield from _of_others(comparison)


def _of_others(comparison: Comparison) -> Iterator[str]:
    """What the ranking does not show."""
    for measure, count in comparison.elsewhere.items():
        yield (
            f"{_count(count, 'other run has a score', 'other runs have scores')} in {measure.name} "
            f"({measure.meaning}): not comparable with these, which are in "
            f"{comparison.measure.name} ({comparison.measure.meaning}); see the report of its own."
        )
    if missing := len(unfinished(comparison)):
        yield f"{missing} of {len(comparison.runs)} runs are not done."
    if comparison.copies:
        names = ", ".join(run.name for run in comparison.copies)
        yield f"Left out as copies of other folders: {names}."


def _of_ranking(ranking: Ranking, measure: Measure, margin: float) -> Iterator[str]:
    leader = ranking.leader
    told = (
        f"{_name(leader, ranking)}, {_score(leader, measure)} on valid, "
        f"{measure.written(leader.test or 0.0)} on test, {_cost(leader)}"
        f"a mean span of {leader.span_mean or 0.0:.1f} tokens"
    )
    others = len(ranking.groups) - 1
    if not others:
        yield f"Result: {told}."
        return
    sure = f"({_seeds(ranking)}, {_SURE})"
    if ranking.has_winner:
        than = "the other one" if others == 1 else f"each of the {others} others"
        yield f"Best: {told}; better than {than} {sure}."
    elif ranking.has_seeds:
        yield f"Leads: {told}; {_as_good(ranking)} {sure}{_named(ranking)}."
    else:
        yield f"Lowest score: {told}."
        yield (
            "Every configuration has one seed, so nothing is known of what another seed would "
            "change, and no winner can be named."
        )
    yield from _cheapest(ranking, measure, margin)


def _as_good(ranking: Ranking) -> str:
    """How many cannot be told from the leader."""
    count, others = len(ranking.as_good()), len(ranking.groups) - 1
    return (
        "the other one cannot be told from it"
        if others == 1
        else f"{count} of the {others} others cannot be told from it"
    )


def _named(ranking: Ranking) -> str:
    """The first of those that cannot be told from the leader."""
    as_good = ranking.as_good()
    names = [_name(group, ranking) for group in as_good[:_MOST_GROUPS]]
    more = [f"{len(as_good) - len(names)} more"] if len(as_good) > len(names) else []
    return f": {'; '.join([*names, *more])}"


def _cheapest(ranking: Ranking, measure: Measure, margin: float) -> Iterator[str]:
    """What costs less and is as good, or nearly."""
    cheaper, close = ranking.cheaper(), f"{margin:g} {measure.name}"
    within = [group for group in cheaper if ranking.most_above(group) <= margin]
    known = f" ({_SURE})" if ranking.has_seeds else ""
    if within:
        yield f"Within {close} of it{known} the cheapest is {_beside(within[0], ranking, measure)}."
        return
    is_known = "is known to come" if ranking.has_seeds else "comes"
    yield f"No run that is clearly cheaper {is_known} within {close} of it{known}."
    as_good = [group for group in cheaper if group in ranking.as_good()]
    if ranking.has_seeds and as_good:
        yield (
            "Of those that cannot be told from it the cheapest is "
            f"{_beside(as_good[0], ranking, measure)}."
        )


def _beside(group: Group, ranking: Ranking, measure: Measure) -> str:
    """A cheaper group, and how much cheaper it is than the leader."""
    assert group.cost
    assert ranking.leader.cost
    ratio = ranking.leader.cost / group.cost
    return (
        f"{_name(group, ranking)}: {_score(group, measure)} on valid, {_cost(group)}"
        f"{ratio:.2f} times cheaper"
    )


def _cost(group: Group) -> str:
    """FLOPs as executed, and the papers' count; nothing if neither is known."""
    if not group.cost:
        return ""
    macs = group.macs_per_token
    papers = f" ({si(macs)} multiply-adds, as the paper counts)" if macs else ""
    return f"at {si(group.cost)} FLOPs per token executed{papers} and "


def _score(group: Group, measure: Measure) -> str:
    """Its score on valid with the spread, and the number of seeds."""
    spread = "" if group.spread is None else f" ± {measure.written(group.spread)}"
    done, seeds = len(group.done), len(group.runs)
    of = f" ({done} of {seeds} seeds)" if done < seeds else f" ({seeds} seeds)" if seeds > 1 else ""
    return f"{measure.written(group.valid or 0.0)}{spread}{of} {measure.name}"


def _seeds(ranking: Ranking) -> str:
    counts = {len(group.done) for group in ranking.groups}
    fewest, most = min(counts), max(counts)
    return f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds"


def _name(group: Group, ranking: Ranking) -> str:
    """What it differs in from the others of its ranking, at most a few keys of it."""
    values = {key: {one.varies.get(key) for one in ranking.groups} for key in group.varies}
    telling = [key for key, distinct in values.items() if len(distinct) > 1]
    return brief({key: group.varies[key] for key in telling}) or group.brief_label


def _text_of(ranking: Ranking, rankings: Sequence[Ranking]) -> str:
    """What a person calls the text of a ranking."""
    firsts = [one.leader.first.values for one in rankings]
    own = ranking.leader.first
    keys = [key for key in own.values if key == "data" or key.startswith("data.")]
    differing = [key for key in keys if len({str(values.get(key)) for values in firsts}) > 1]
    values = [[str(one.get(key)) for key in differing] for one in firsts]
    is_unique = values.count([str(own.values.get(key)) for key in differing]) == 1
    named = {key: str(own.values[key]) for key in differing if key in own.values}
    return brief(named if is_unique else {DATA_KEY: own.data} | named)


def _count(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
