"""What a run was made of: `source.json`, a list with an entry for each time it was started.

An entry has the step that the start went on from, commit and uncommitted changes (`diff`), a
digest of the `code` that counts and one of each of its files (`code_files`; like `diff`, left out
where they are those of the entry before), extensions, the SHA-256 of the data, the identity of the
run (`id` and `values`: see `identity.py`), machine and versions (`start.py`), and what `auto`
became: device, GPU, precision, attention, processes, threads. Before the first start a sweep writes
an entry that has the data only. A run that was trained elsewhere has one entry: its data and the
file that it was `imported` from. A run that continues a shorter one has the entries of that one
first, each with the other's name under `of_run`, and the step up to which its updates were taken
over. Older runs have one entry, without a list around it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

from adaspan.errors import RunError
from adaspan.files import read_json, write_json
from adaspan.places import CODE
from adaspan.runs.code.commit import code_version
from adaspan.runs.code.fingerprint import Code, short
from adaspan.runs.extensions import extension_records
from adaspan.runs.start import Start, differences, environment, inexact

UNKNOWN_CODE = "unknown"
_DATA = "data_sha256"
_CODE, _CODE_FILES = "code", "code_files"
_ONCE = ("diff", _CODE_FILES)  # not where it is that of the entry before
_IMPORTED = "imported"
_OF_RUN, _UP_TO = "of_run", "up_to_step"
_SHORT_DIGITS = 12


class Source:
    """The source of one run.

    Args:
        path: of its `source.json`.
        code: folder of the code that trains it.
    """

    def __init__(self, path: Path, code: Path = CODE) -> None:
        self._path = path
        self._code = code

    def starts(self) -> list[Start]:
        """An entry a start, each complete."""
        return _completed(self._written())

    def begun_with(self) -> Start:
        """The entry of the start that began the run; empty before."""
        return next((entry for entry in reversed(self.starts()) if not entry.get("step")), {})

    def own(self, key: str) -> str | None:
        """What the last start of the run itself has written down, if it has."""
        values = [entry[key] for entry in self._begun(taken_over=False) if key in entry]
        return str(values[-1]) if values else None

    def data_fingerprint(self) -> str | None:
        """SHA-256 of the data that the run is of; None for a new run."""
        fingerprint: str | None = self.begun_with().get(_DATA)
        return fingerprint

    def short_fingerprint(self) -> str:
        """Enough of `data_fingerprint` to tell texts apart; empty for a new run."""
        return (self.data_fingerprint() or "")[:_SHORT_DIGITS]

    def fix_data(self, fingerprint: str) -> None:
        """Note on which data the run will be trained, unless that is known."""
        if not self.data_fingerprint():
            write_json(self._path, [{_DATA: fingerprint}])

    def note_import(self, file: str, file_sha256: str, fingerprint: str) -> None:
        """Note that the model was brought along, and on which data it was trained elsewhere."""
        entry = {"time": time.time(), _IMPORTED: {"file": file, "sha256": file_sha256}}
        write_json(self._path, [{**entry, _DATA: fingerprint}])

    def imported(self) -> str | None:
        """The file that the model was brought along in; None for a run that was trained here."""
        file: str | None = self.begun_with().get(_IMPORTED, {}).get("file")
        return file

    def take_over(self, run: str, starts: Sequence[Start], step: int) -> None:
        """Note that the updates up to a step were made by another run.

        Args:
            run: its name.
            starts: an entry for each of its starts.
            step: after which this run goes on by itself.
        """
        made = [entry for entry in starts if entry.get("step", 0) <= step]
        taken = [{_OF_RUN: run, _UP_TO: step, **entry} for entry in made]
        self._write([*self._begun(taken_over=False), *taken])

    def continues(self) -> tuple[str, int] | None:
        """The run whose updates this one has taken over, and up to which step."""
        taken = self._taken_over()
        return (taken[-1][_OF_RUN], taken[-1][_UP_TO]) if taken else None

    def unlike_what_it_continues(self) -> list[str]:
        """How the updates that were taken over were computed, where the last start does it in
        another way.
        """
        now = self.starts()[-1]
        ways = [way for entry in self._taken_over() for way in inexact(entry, now)]
        return list(dict.fromkeys(ways))

    def unlike_before(self) -> list[str]:
        """How the last start differs from the one before it."""
        last_two = self.starts()[-2:]
        return differences(*last_two) if len(last_two) == 2 else []

    def made_by(self, step: float = inf) -> list[Start]:
        """The starts that made the updates up to a step; what others made was lost, or is not made
        yet.

        Args:
            step: of a checkpoint; without it, the last.
        """
        made: list[Start] = []
        for entry in self._begun(taken_over=True):
            while made and made[-1].get("step", 0) >= entry.get("step", 0):
                made.pop()
            made.append(entry)
        return [entry for entry in made if entry.get("step", 0) < step]

    def codes(self) -> list[str]:
        """The digests of all codes that have trained the run, `UNKNOWN_CODE` for versions that did
        not write theirs down; empty before it begins, and for a model that was brought along.
        """
        made = [entry for entry in self.made_by() if _IMPORTED not in entry]
        return list(dict.fromkeys(entry.get(_CODE, UNKNOWN_CODE) for entry in made))

    def add_start(
        self,
        step: int,
        fingerprint: str,
        code: Code,
        computing: Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that the run starts, or goes on from a step.

        Args:
            step: 0 for one that starts.
            fingerprint: SHA-256 of the data.
            code: which trains it.
            computing: what `auto` became, by name.
            data: what the text turned out to be: format, encoding, symbols, newlines, damage.
        """
        earlier = self._begun(taken_over=step > 0)
        entry = {
            "time": time.time(),
            "step": step,
            **code_version(self._code),
            _CODE: short(code),
            _CODE_FILES: dict(code),
            _DATA: fingerprint,
            **({"data": dict(data)} if data else {}),
            "extensions": extension_records(),
            **environment(),
            **computing,
        }
        self._write([*earlier, entry])

    def _begun(self, *, taken_over: bool) -> list[Start]:
        """An entry for each start so far, with those of another run or without."""
        begun = [entry for entry in self.starts() if entry.keys() != {_DATA}]
        return [entry for entry in begun if taken_over or _OF_RUN not in entry]

    def _taken_over(self) -> list[Start]:
        return [entry for entry in self.starts() if _OF_RUN in entry]

    def _write(self, entries: Sequence[Start]) -> None:
        write_json(self._path, _told_once(entries))

    def _written(self) -> list[Start]:
        content = read_json(self._path)
        entries = content if isinstance(content, list) else [content] if content else []
        if not all(isinstance(entry, dict) for entry in entries):
            raise RunError(f"{self._path}: damaged (its entries are no objects)")
        return entries


def _completed(entries: Sequence[Start]) -> list[Start]:
    """Each with what only the entry before it tells."""
    complete: list[Start] = []
    for entry in entries:
        before = complete[-1] if complete else {}
        known = {key: before[key] for key in _ONCE if key in before}
        if entry.get(_CODE) != before.get(_CODE):  # an earlier version has gone on with the run
            known.pop(_CODE_FILES, None)
        complete.append({**known, **entry})
    return complete


def _told_once(entries: Sequence[Start]) -> list[Start]:
    """Each without what the entry before it tells alike."""
    written: list[Start] = []
    for before, entry in pairwise([{}, *entries]):
        known = [key for key in _ONCE if before and before.get(key) == entry.get(key)]
        written.append({key: entry[key] for key in entry if key not in known})
    return written
