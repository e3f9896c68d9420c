"""What a run was made of: `source.json`, a list with an entry for each time it was started.

An entry has the step that the start went on from, commit and uncommitted changes (`diff`, left out
where it is that of the entry before), versions, extensions, the SHA-256 of the data, and what
`auto` became: device, precision, attention, processes, threads. Before the first start a sweep
writes an entry that has the data only. A run that was trained elsewhere has one entry: its data and
the file that it was `imported` from. A run that continues a shorter one has the entries of that one
first, each with the other's name under `of_run`, and the step up to which its updates were taken
over. Older runs have one entry, without a list around it.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

from adaspan.errors import RunError
from adaspan.files import read_json, write_json
from adaspan.places import CODE, IS_INSTALLED
from adaspan.runs.extensions import extension_records

# In a copy of the code: what `code_version` returned for the original.
SOURCE_OF_SNAPSHOT = "source.json"
_PACKAGES = ("torch", "triton", "numpy", "hydra-core", "omegaconf", "wandb")
_DATA = "data_sha256"
_IMPORTED = "imported"
_OF_RUN, _UP_TO = "of_run", "up_to_step"
_SHORT_DIGITS = 12
_HOW = ("device", "attention", "processes", "threads", "torch")

Entry = dict[str, Any]


class Source:
    """The source of one run.

    Args:
        path: of its `source.json`.
        code: folder of the code that trains it.
    """

    def __init__(self, path: Path, code: Path = CODE) -> None:
        self._path = path
        self._code = code

    def starts(self) -> list[Entry]:
        """An entry a start, each with its diff."""
        return _each_with_diff(self._written())

    def begun_with(self) -> Entry:
        """The entry of the start that began the run; empty before."""
        return next((entry for entry in reversed(self.starts()) if not entry.get("step")), {})

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

    def take_over(self, run: str, starts: Sequence[Entry], step: int) -> None:
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
        now = _how(self.starts()[-1])
        ways = [way for entry in self._taken_over() for way in _how(entry).items()]
        return [f"{key} {value}" for key, value in dict.fromkeys(ways) if now.get(key) != value]

    def changed_extensions(self) -> list[str]:
        """Those whose code is not what it was when the run was last started."""
        before = (self.starts() or [{}])[-1].get("extensions", {})
        return [
            name
            for name, record in extension_records().items()
            if name in before and before[name]["sha256"] != record["sha256"]
        ]

    def add_start(
        self,
        step: int,
        fingerprint: str,
        computing: Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that the run starts, or goes on from a step.

        Args:
            step: 0 for one that starts.
            fingerprint: SHA-256 of the data.
            computing: what `auto` became, by name.
            data: what the text turned out to be: format, encoding, symbols, newlines, damage.
        """
        earlier = self._begun(taken_over=step > 0)
        entry = {
            "time": time.time(),
            "step": step,
            **code_version(self._code),
            _DATA: fingerprint,
            **({"data": dict(data)} if data else {}),
            "extensions": extension_records(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": dict(_installed()),
            **computing,
        }
        self._write([*earlier, entry])

    def _begun(self, *, taken_over: bool) -> list[Entry]:
        """An entry for each start so far, with those of another run or without."""
        begun = [entry for entry in self.starts() if entry.keys() != {_DATA}]
        return [entry for entry in begun if taken_over or _OF_RUN not in entry]

    def _taken_over(self) -> list[Entry]:
        return [entry for entry in self.starts() if _OF_RUN in entry]

    def _write(self, entries: Sequence[Entry]) -> None:
        write_json(self._path, _diffs_once(entries))

    def _written(self) -> list[Entry]:
        content = read_json(self._path)
        entries = content if isinstance(content, list) else [content] if content else []
        if not all(isinstance(entry, dict) for entry in entries):
            raise RunError(f"{self._path}: damaged (its entries are no objects)")
        return entries


def _each_with_diff(entries: Sequence[Entry]) -> list[Entry]:
    """Each with its diff, which may be that of the entry before."""
    complete: list[Entry] = []
    for entry in entries:
        before = {"diff": complete[-1].get("diff")} if complete else {}
        complete.append({**before, **entry})
    return complete


def _diffs_once(entries: Sequence[Entry]) -> list[Entry]:
    """Each without its diff where that is the one of the entry before."""
    written: list[Entry] = []
    for before, entry in pairwise([{}, *entries]):
        is_known = bool(before) and before.get("diff") == entry.get("diff")
        written.append({key: entry[key] for key in entry if key != "diff" or not is_known})
    return written


def _how(start: Entry) -> dict[str, str]:
    """All of a start on which the last bits of an update may depend."""
    ways = {**start, "torch": start.get("packages", {}).get("torch")}
    code = repr([start.get(key) for key in ("commit", "diff", "version")])
    return {
        "code": hashlib.sha256(code.encode()).hexdigest()[:_SHORT_DIGITS],
        **{key: str(ways[key]) for key in _HOW if key in ways},
    }


def _installed() -> Iterator[tuple[str, str]]:
    """Packages that results may depend on, with their versions; Triton is not everywhere."""
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)


def code_version(root: Path) -> Entry:
    """Commit and uncommitted changes of the code below `root`; the version of an installed one."""
    snapshot = root / SOURCE_OF_SNAPSHOT
    if snapshot.exists():
        version: Entry = read_json(snapshot)
        return version
    if IS_INSTALLED:  # whatever repository it may lie in is not its own
        return {"commit": None, "diff": None, "version": metadata.version("adaspan")}
    return {"commit": _git(root, "rev-parse", "HEAD"), "diff": _git(root, "diff", "HEAD")}


def _git(root: Path, *arguments: str) -> str | None:
    """What git answers; None outside a repository."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.decode(errors="replace").strip()
