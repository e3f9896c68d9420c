"""What a report shows, read from run folders alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from adaspan.config.kinds.registry import KINDS
from adaspan.config.resolved import flat, read_chosen, read_values
from adaspan.report.groups import SEED, Group, Run, first_begun
from adaspan.report.labels import by_number
from adaspan.report.ranking import Ranking
from adaspan.runs.folder import DATA_KEY, RunFolder
from adaspan.runs.identity import NOT_IDENTITY
from adaspan.runs.measures import BPB, MEASURES, Measure
from adaspan.status.state import describe, standings


@dataclass(frozen=True)
class Comparison:
    """All that a report shows. Runs of different measures are not comparable: see `apart`."""

    title: str
    runs: Sequence[Run]
    groups: Sequence[Group]
    copies: Sequence[Run]  # copies of other folders, left out: they would count as seeds
    elsewhere: Mapping[Measure, int] = field(default_factory=dict)  # runs of other measures

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
            group.measure
            for group in self.groups
            for _ in group.runs
            if group.measure not in (measure, None)
        )
        title = f"{self.title}-{measure.name}"
        return Comparison(title, runs, groups, self.copies, elsewhere)

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
        """Groups with a result that are comparable: a ranking for each text, the longest first."""
        by_text: dict[str, list[Group]] = {}
        for group in self.done:
            by_text.setdefault(group.first.data, []).append(group)
        return sorted(map(Ranking, by_text.values()), key=lambda one: -len(one.groups))

    def differences(self) -> tuple[list[str], list[list[str]]]:
        """Keys in which configurations differ, seeds aside, and each group's values of them."""
        firsts = _shown([group.first for group in self.groups])
        keys = dict.fromkeys(key for values in firsts for key in values)
        rows = {key: [str(values.get(key, "")) for values in firsts] for key in keys}
        differing = {key: row for key, row in rows.items() if len(set(row)) > 1}
        return list(differing), [list(row) for row in zip(*differing.values(), strict=True)]


def compare(title: str, runs: Mapping[Path, Mapping[str, str]]) -> Comparison:
    """Read run folders.

    Args:
        title: of the sweep.
        runs: folders, and the values in which each differs from the others as far as known.
    """
    read, copies = _apart(_read(runs))
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
    return Comparison(title, read, compared_groups, copies)


def _read(runs: Mapping[Path, Mapping[str, str]]) -> list[Run]:
    folders = [RunFolder(path) for path in runs]
    # Kinds and versions differ in the keys that they have: what no run asks for is no difference.
    asked_for = {key for path in runs for key in flat(read_chosen(path))}
    read = []
    for folder, standing in zip(folders, standings(folders), strict=True):
        values, rows = read_values(folder.path), folder.rows()
        state = describe(folder, dict(runs[folder.path]), standing, values, rows)
        data = folder.source.short_fingerprint()
        chosen = {key: value for key, value in flat(values).items() if key in asked_for}
        read.append(Run(folder.path, state, chosen, data, rows))
    return read


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

    Of a run that has not begun, only what it varies is known.
    """
    known = {_text(_given(run)): _identity(run) for run in runs if run.values}
    return [
        _identity(run) if run.values else known.get(_text(_given(run)), _text(_given(run)))
        for run in runs
    ]


def _identity(run: Run) -> str:
    return _text(_compared(run))


def _compared(run: Run) -> dict[str, object]:
    """What determines the result, the seed aside."""
    ignored = (SEED, *NOT_IDENTITY)
    values = {
        key: value
        for key, value in run.values.items()
        if not any(key == other or key.startswith(f"{other}.") for other in ignored)
    }
    if not run.data:
        return values
    # One text at two places is one text.
    elsewhere = {key: value for key, value in values.items() if key not in _places(run)}
    return elsewhere | {DATA_KEY: run.data}


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
