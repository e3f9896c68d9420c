"""In what runs side by side were not computed alike, beside what was asked for, a line each.

None of it makes scores incomparable; all of it may explain a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from adaspan.report.groups import Group, Run

# By the names of `runs/start.py`, and what a person calls them. What only changes the last bits of
# a result, such as how many threads computed it, is left out.
_NAMED = {
    "commit": "commits",
    "uncommitted changes": "sets of uncommitted changes",
    "version": "versions of adaspan",
    "precision": "precisions",
    "attention": "implementations of attention, which execute different FLOPs",
    "torch": "versions of torch",
    "triton": "versions of triton",
    "numpy": "versions of numpy",
    "python": "versions of Python",
    "device": "devices",
    "host": "machines",
}
_MOST_VALUES = 3
# Configured; a quick evaluation reads another part of valid.
_EVAL_FRACTION = "train.eval_fraction"


def caveats(groups: Sequence[Group]) -> Iterator[str]:
    """What is to be known of the runs that are done.

    Args:
        groups: that are shown side by side.
    """
    runs = [run for group in groups for run in group.done]
    for key, name in _NAMED.items():
        by_value = _by_value(key, runs)
        if len(by_value) > 1:
            within = [group for group in groups if len(_by_value(key, group.done)) > 1]
            seeds = ", seeds of one row among them" if within else ""
            yield f"{len(by_value)} {name}{seeds}: {_counted(by_value)}."
    resumed = [run for run in runs if _changed(run)]
    if resumed:
        named = _first(run.name for run in resumed)
        yield f"Resumed with another commit, version, precision or device than begun: {named}."
    if len({run.values.get(_EVAL_FRACTION) for run in runs}) > 1:
        yield f"{_EVAL_FRACTION} differs: curves are of different parts of valid."


def _by_value(key: str, runs: Sequence[Run]) -> dict[str, int]:
    """How many runs have each value, in the last start that knows it."""
    counts: dict[str, int] = {}
    for run in runs:
        value = next((start[key] for start in reversed(run.starts) if key in start), None)
        if value is not None:
            counts[str(value)] = counts.get(str(value), 0) + 1
    return counts


def _changed(run: Run) -> bool:
    return any(len(_values(key, run.starts)) > 1 for key in _NAMED if key != "host")


def _values(key: str, starts: Sequence[Mapping[str, object]]) -> set[str]:
    return {str(start[key]) for start in starts if key in start}


def _counted(by_value: Mapping[str, int]) -> str:
    """The most frequent values, each with its number of runs."""
    most_first = sorted(by_value.items(), key=lambda item: -item[1])
    return _first(f"{value} ({count} run{'s' * (count > 1)})" for value, count in most_first)


def _first(words: Iterator[str]) -> str:
    named = list(words)
    more = len(named) - _MOST_VALUES
    return ", ".join([*named[:_MOST_VALUES], *[f"{more} more"] * (more > 0)])
