"""What a report shows, read from run folders alone."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from adaspan.config.kinds.registry import KINDS
from adaspan.config.resolved import flat, read_chosen, read_values
from adaspan.errors import RunError
from adaspan.report.groups import CODE, SEED, Group, Run, first_begun
from adaspan.report.labels import by_number
from adaspan.report.ranking import Ranking
from adaspan.runs.failures import State
from adaspan.runs.figures import Row
from adaspan.runs.folder import DATA_KEY, RunFolder
from adaspan.runs.identity import NOT_IDENTITY
from adaspan.runs.measures import BPB, MEASURES, Measure
from adaspan.runs.start import Start, told
from adaspan.status.state import describe, standings

_PRECISION = "train.precision"  # auto: what it became


@dataclass(frozen=True)
class Comparison:
    """All that a report shows. Runs of different measures are not comparable: see `apart`."""

    title: str
    runs: Sequence[Run]
    groups: Sequence[Group]
    copies: Sequence[Run]  # copies of other folders, left out: they would count as seeds
    elsewhere: Mapping[Measure, int] = field(default_factory=dict)  # runs of other measures
    typed: Sequence[str] = ()  # the words that trained them all, if there are such
    across_code: bool = False  # rank runs of different code together
    damaged: Sequence[str] = ()  # what is wrong with runs that are left out

    @cached_property
    def measure(self) -> Measure:
        """Of the scores; that of bytes before there are any."""
        return next((group.measure for group in self.groups if group.measure), BPB)

    def apart(self) -> list[Comparison]:
        """The same, a comparison for each measure that its groups have; groups without a score are
        in all of them.
        """
        measures = [one for one in MEASURES if any(group.measure == one for group in self.groups)]
        if len(measures) < 2:
            return [self]
        return [self._of(measure) for measure in measures]

    def _of(self, measure: Measure) -> Comparison:
        groups = [group for group in self.groups if group.measure in (measure, None)]
        runs = [run for group in groups for run in group.runs]
        elsewhere = Counter(
            other
            for group in self.groups
            for _ in group.runs
            if (other := group.measure) and other != measure
        )
        title = f"{self.title}-{measure.name}"
        return dataclasses.replace(self, title=title, runs=runs, groups=groups, elsewhere=elsewhere)

    @property
    def varied(self) -> list[str]:
        """The keys in which groups differ."""
        return list(dict.fromkeys(key for group in self.groups for key in group.varies))

    @cached_property
    def done(self) -> list[Group]:
        """Groups with a result, the lowest score first."""
        done = [group for group in self.groups if group.done]
        return sorted(done, key=lambda group: group.rank)

    @cached_property
    def rankings(self) -> list[Ranking]:
        """Groups with a result that are comparable: a ranking for each text and each code, unless
        codes are ranked together, the longest first.
        """
        alike: dict[tuple[str, str], list[Group]] = {}
        for group in self.done:
            run = group.done[0]
            alike.setdefault((run.data, "" if self.across_code else run.code), []).append(group)
        return sorted(map(Ranking, alike.values()), key=lambda one: -len(one.groups))

    def differences(self) -> tuple[list[str], list[list[str]]]:
        """Keys in which configurations differ, seeds aside, and each group's values of them."""
        firsts = _shown([group.first for group in self.groups])
        keys = dict.fromkeys(key for values in firsts for key in values)
        rows = {key: [str(values.get(key, "")) for values in firsts] for key in keys}
        differing = {key: row for key, row in rows.items() if len(set(row)) > 1}
        return list(differing), [list(row) for row in zip(*differing.values(), strict=True)]


def compare(
    title: str,
    runs: Mapping[Path, Mapping[str, str]],
    typed: Sequence[str] = (),
    *,
    across_code: bool = False,
) -> Comparison:
    """Read run folders.

    Args:
        title: of the sweep.
        runs: folders, and the values in which each differs from the others as far as known.
        typed: the words that trained them all, if there are such.
        across_code: rank runs of different code together.
    """
    readable, damaged = _read(runs)
    read, copies = _apart(readable)
    groups: dict[str, list[Run]] = {}
    for run, identity in zip(read, _identities(read), strict=True):
        groups.setdefault(identity, []).append(run)
    firsts = [first_begun(of_group) for of_group in groups.values()]
    varying = [_given(run) for run in firsts]
    if len({tuple(sorted(varies.items())) for varies in varying}) < len(varying):
        varying = _differences(firsts)
    compared_groups = [
        Group(varies, of_group) for varies, of_group in zip(varying, groups.values(), strict=True)
    ]
    if not any(runs.values()):  # else in the order of their folders, which means nothing
        compared_groups.sort(
            key=lambda group: [by_number(value) for value in group.varies.values()]
        )
    return Comparison(
        title,
        read,
        compared_groups,
        copies,
        typed=typed,
        across_code=across_code,
        damaged=damaged,
    )


def _read(
    runs: Mapping[Path, Mapping[str, str]],
) -> tuple[list[Run], list[str]]:
    """The runs that can be read, and what is wrong with the others.

    Raises:
        RunError: none can be.
    """
    known: dict[Path, tuple[dict[str, Any], list[Row], list[Start], State]] = {}
    damaged: list[str] = []
    # Kinds and versions differ in the keys that they have: what no run asks for is no difference.
    asked_for: set[str] = set()
    for folder in map(RunFolder, runs):
        try:
            values, chosen = read_values(folder.path), flat(read_chosen(folder.path))
            record = values, folder.rows(), folder.source.made_by(), folder.state
        except RunError as error:
            damaged.append(str(error))
        else:
            known[folder.path] = record
            asked_for |= chosen.keys()
    if damaged and not known:
        raise RunError(damaged[0])
    folders, read = [RunFolder(path) for path in known], []
    for folder, standing in zip(folders, standings(folders), strict=True):
        values, rows, starts, _ = known[folder.path]
        state = describe(folder, dict(runs[folder.path]), standing, values, rows)
        data = folder.source.short_fingerprint()
        own = {key: value for key, value in flat(values).items() if key in asked_for}
        read.append(Run(folder.path, state, own, data, rows, [*map(_told, starts)]))
    return read, damaged


def _told(start: Start) -> dict[str, object]:
    """What is told of a start, and its code."""
    return told(start) | ({CODE: start[CODE]} if CODE in start else {})


def _apart(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Each run once, and the copies of these in other folders."""
    first: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: not run.is_done):
        first.setdefault(f"{_identity(run)} {run.seed}" if run.values else run.name, run)
    kept = {run.path for run in first.values()}
    own = [run for run in runs if run.path in kept]
    return own, [run for run in runs if run.path not in kept]


def _given(run: Run) -> dict[str, str]:
    return {key: value for key, value in run.state.varies.items() if key != SEED}


def _identities(runs: Sequence[Run]) -> list[str]:
    """The same for runs that differ in their seed only.

    Of a run that has not begun, what `auto` becomes is not known, or only what it varies is.
    """
    begun = [run for run in runs if run.has_begun]
    by_plan = {_text(_planned(run)): _identity(run) for run in reversed(begun)}
    by_values = {_text(_given(run)): _identity(run) for run in runs if run.values}
    return [
        _identity(run)
        if run.has_begun
        else by_plan.get(_text(_planned(run)), _identity(run))
        if run.values
        else by_values.get(_text(_given(run)), _text(_given(run)))
        for run in runs
    ]


def _identity(run: Run) -> str:
    return _text(_compared(run))


def _compared(run: Run) -> dict[str, object]:
    """What determines the result, the seed aside: what was asked for, what `auto` became, and the
    code.
    """
    values, precision = _planned(run), run.precision
    if precision and _PRECISION in values:
        values[_PRECISION] = precision
    return values | ({CODE: run.code} if run.code else {})


def _planned(run: Run) -> dict[str, object]:
    """What was asked for."""
    ignored = (SEED, *NOT_IDENTITY)
    values = {
        key: value
        for key, value in run.values.items()
        if not any(key == other or key.startswith(f"{other}.") for other in ignored)
    }
    if run.data:  # one text at two places is one text
        values = {key: value for key, value in values.items() if key not in _places(run)}
        values[DATA_KEY] = run.data
    return values


def _places(run: Run) -> dict[str, object]:
    """What says where its text is, not which it is."""
    kind = KINDS["data"].get(str(run.values.get("data")))
    keys = [f"data.{place}" for place in getattr(kind, "places", ())]
    return {key: run.values[key] for key in keys if key in run.values}


def _shown(runs: Sequence[Run]) -> list[dict[str, object]]:
    """What determines the result of each, for a person: texts by where they are, if that tells them
    apart.
    """
    places = [json.dumps([run.values.get("data"), _places(run)]) for run in runs]
    texts = [run.data for run in runs]
    pairs = set(zip(places, texts, strict=True))
    compared = [_compared(run) for run in runs]
    for key in (_PRECISION, CODE):  # of what has not begun, it is not known
        pairs_of_runs = list(zip(runs, compared, strict=True))
        begun = {values.get(key) for run, values in pairs_of_runs if run.has_begun}
        for run, values in pairs_of_runs:
            if len(begun) == 1 and None not in begun and not run.has_begun:
                values[key] = min(begun, key=str)
    if not all(texts) or not len(pairs) == len(set(places)) == len(set(texts)):
        return compared
    return [
        {**_places(run), **{key: value for key, value in values.items() if key != DATA_KEY}}
        for run, values in zip(runs, compared, strict=True)
    ]


def _text(values: Mapping[str, object]) -> str:
    return json.dumps(values, sort_keys=True, default=str)


def _differences(runs: Sequence[Run]) -> list[dict[str, str]]:
    """The values of each run under the keys in which the runs differ that have them."""
    compared = _shown(runs)
    keys = dict.fromkeys(key for values in compared for key in values)
    varied = [
        key for key in keys if len({str(values[key]) for values in compared if key in values}) > 1
    ]
    return [{key: str(values[key]) for key in varied if key in values} for values in compared]
