"""What was found out, in a few sentences that say no more than the scores bear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adaspan.report.caveats import caveats
from adaspan.report.comparison import Comparison
from adaspan.report.groups import SEED, Group
from adaspan.report.labels import brief
from adaspan.report.ranking import Ranking
from adaspan.report.statistics import CONFIDENCE
from adaspan.report.table import unfinished
from adaspan.runs.command import typed_sweep, typed_words
from adaspan.runs.folder import DATA_KEY
from adaspan.runs.measures import Measure
from adaspan.units import si

# So many rankings and groups are named; of more, how many.
_MOST_RANKINGS, _MOST_GROUPS = 3, 3
_SURE = f"{CONFIDENCE:.0%}".replace("%", " %")


def finding(comparison: Comparison, margin: float) -> str:
    """The result in a few sentences.

    Args:
        comparison: the runs.
        margin: by how much the cheapest run may be worse than the best.
    """
    return " ".join(_sentences(comparison, margin))


def notes(comparison: Comparison) -> list[str]:
    """What else is to be known, a line each: how to know more, and what was not computed alike."""
    left_out = [f"Left out: {message}." for message in comparison.damaged]
    return [*left_out, *_more_seeds(comparison), *caveats(comparison.groups)]


def _sentences(comparison: Comparison, margin: float) -> Iterator[str]:
    rankings, runs = comparison.rankings, len(comparison.runs)
    if not rankings:
        yield f"None of the {runs} runs is done yet." if runs > 1 else "The run is not done yet."
        return
    yield from _apart(rankings)
    for ranking in rankings[:_MOST_RANKINGS]:
        if len(rankings) > 1:
            yield f"{_place(ranking, rankings)}:"
        yield from _of_ranking(ranking, comparison, margin)
    if (more := len(rankings) - _MOST_RANKINGS) > 0:
        yield f"{_count(more, 'more ranking is', 'more rankings are')} in the table."
    yield from _of_others(comparison)


def _apart(rankings: Sequence[Ranking]) -> Iterator[str]:
    """Why not all is in one ranking."""
    runs = [ranking.leader.done[0] for ranking in rankings]
    if (texts := len({run.data for run in runs})) > 1:
        yield (
            f"The runs are on different data: {texts} texts, whose scores are not comparable; each "
            "is ranked apart."
        )
    if len(rankings) > texts:
        codes = len({run.code for run in runs})
        yield (
            f"The runs are of {codes} codes, which may differ in more than what was varied; each "
            "is ranked apart, unless --accept-other-code is given."
        )


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


def _of_ranking(ranking: Ranking, comparison: Comparison, margin: float) -> Iterator[str]:
    leader, measure = ranking.leader, comparison.measure
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
        yield f"Best: {told}; better than {_all(others)} {sure}."
    elif ranking.has_seeds and not ranking.as_good():
        yield f"Leads: {told}. Only one seed of it is done: too few to call it the best."
    elif ranking.has_seeds:
        yield f"Leads: {told}; {_as_good(ranking)} {sure}{_named(ranking)}."
    else:
        yield f"Lowest score: {told}."
        yield from _of_one_seed(ranking)
    yield from _cheapest(ranking, measure, margin)


def _of_one_seed(ranking: Ranking) -> Iterator[str]:
    """What the evaluation alone can tell apart, and what cannot be known without more seeds."""
    if ranking.evidence is not None:
        count, others = len(ranking.as_good()), len(ranking.groups) - 1
        as_good, lower = f"{_as_good(ranking)}", f"it is lower than {_all(others)}"
        told = f"{as_good}{_named(ranking)}" if count else lower
        yield f"As far as the evaluation goes (bootstrap over slices of valid, {_SURE}), {told}."
    yield (
        "Each has one seed, so what another would change is not known, and no winner can be named."
    )


def _more_seeds(comparison: Comparison) -> Iterator[str]:
    """The command that trains them: the whole sweep's, or one run's."""
    lacking = [one for one in comparison.rankings if len(one.groups) > 1 and not one.has_seeds]
    if not lacking:
        return
    begun = lacking[0].leader.done[0]
    first = int(begun.seed or 1)
    seeds = f"{SEED}={first},{first + 1},{first + 2}"
    if comparison.typed:
        kept = [word for word in comparison.typed if not word.startswith(f"{SEED}=")]
        yield f"More seeds: {typed_words([*kept, seeds], begun.path)}"
    else:
        yield f"More seeds, likewise of the others: {typed_sweep(begun.path, seeds)}"


def _as_good(ranking: Ranking) -> str:
    """How many cannot be told from the leader."""
    count, others = len(ranking.as_good()), len(ranking.groups) - 1
    if others == 1:
        return "the other one cannot be told from it"
    return f"{count} of the {others} others cannot be told from it"


def _all(others: int) -> str:
    return "the other one" if others == 1 else f"each of the {others} others"


def _named(ranking: Ranking) -> str:
    """The first of those that cannot be told from the leader."""
    as_good = ranking.as_good()
    names = [_name(group, ranking) for group in as_good[:_MOST_GROUPS]]
    more = [f"{len(as_good) - len(names)} more"] if len(as_good) > len(names) else []
    return f": {'; '.join([*names, *more])}"


def _cheapest(ranking: Ranking, measure: Measure, margin: float) -> Iterator[str]:
    """What costs less and is as good, or nearly."""
    cheaper, close = ranking.cheaper(), f"{margin:g} {measure.name}"
    has_evidence = ranking.evidence is not None
    within = [group for group in cheaper if ranking.most_above(group) <= margin]
    known = f" ({_SURE}{'' if ranking.has_seeds else ' of evaluations'})" * has_evidence
    if within:
        yield f"Within {close} of it{known} the cheapest is {_beside(within[0], ranking, measure)}."
        return
    if not cheaper:
        yield "None of the others is clearly cheaper."
        return
    is_known = "is known to come" if has_evidence else "came"
    yield f"No run that is clearly cheaper {is_known} within {close} of it{known}."
    as_good = [group for group in cheaper if group in ranking.as_good()]
    if has_evidence and as_good:
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


def _place(ranking: Ranking, rankings: Sequence[Ranking]) -> str:
    """What a person calls the text and the code of a ranking."""
    codes = {one.leader.done[0].code for one in rankings}
    code = ranking.leader.done[0].code or "not known"
    of_code = [f"code {code}"] if len(codes) > 1 else []
    texts = {one.leader.done[0].data for one in rankings}
    of_text = [_text_of(ranking, rankings)] if len(texts) > 1 else []
    return f"On {', '.join([*of_text, *of_code])}" if of_text else f"Of {of_code[0]}"


def _text_of(ranking: Ranking, rankings: Sequence[Ranking]) -> str:
    """What a person calls the text of a ranking."""
    firsts = [one.leader.first.values for one in rankings]
    own = ranking.leader.first
    keys = [key for key in own.values if key == "data" or key.startswith("data.")]
    differing = [key for key in keys if len({str(values.get(key)) for values in firsts}) > 1]
    mine = [str(own.values.get(key)) for key in differing]
    is_unique = not any(
        one.leader.first.data != own.data
        and mine == [str(one.leader.first.values.get(key)) for key in differing]
        for one in rankings
    )
    named = {key: str(own.values[key]) for key in differing if key in own.values}
    return brief(named if is_unique else {DATA_KEY: own.data} | named)


def _count(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
