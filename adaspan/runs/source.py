"""What a run was made of: `source.json`, a list with an entry for each time it was started.

An entry has the step that the start went on from, commit and uncommitted changes (`diff`, left out
where it is that of the entry before), versions, extensions, the SHA-256 of the data, and what
`auto` became: device, precision, attention, processes, threads. Before the first start a sweep
writes an entry that has the data only. A run that was trained elsewhere has one entry: its data and
the file that it was `imported` from. Older runs have one entry, without a list around it.
"""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from adaspan.errors import RunError
from adaspan.files import read_json, write_json
from adaspan.places import CODE, IS_INSTALLED
from adaspan.runs.extensions import extension_records

# In a copy of the code: what `code_version` returned for the original.
SOURCE_OF_SNAPSHOT = "source.json"
_PACKAGES = ("torch", "numpy", "hydra-core", "omegaconf", "wandb")
_DATA = "data_sha256"
_IMPORTED = "imported"
_SHORT_DIGITS = 12

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
        entries: list[Entry] = []
        for entry in self._written():
            before = {"diff": entries[-1].get("diff")} if entries else {}
            entries.append({**before, **entry})
        return entries

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

    def changed_extensions(self) -> list[str]:
        """Those whose code is not what it was when the run was last started."""
        before = (self.starts() or [{}])[-1].get("extensions", {})
        return [
            name
            for name, record in extension_records().items()
            if name in before and before[name]["sha256"] != record["sha256"]
        ]

    def add_start(self, step: int, fingerprint: str, computing: Mapping[str, Any]) -> None:
        """Note that the run starts, or goes on from a step.

        Args:
            step: 0 for one that starts.
            fingerprint: SHA-256 of the data.
            computing: what `auto` became, by name.
        """
        earlier = [entry for entry in self._written() if entry.keys() != {_DATA}]
        entry = {
            "time": time.time(),
            "step": step,
            **code_version(self._code),
            _DATA: fingerprint,
            "extensions": extension_records(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: metadata.version(name) for name in _PACKAGES},
            **computing,
        }
        if earlier and self.starts()[-1].get("diff") == entry["diff"]:
            del entry["diff"]
        write_json(self._path, [*earlier, entry])

    def _written(self) -> list[Entry]:
        content = read_json(self._path)
        entries = content if isinstance(content, list) else [content] if content else []
        if not all(isinstance(entry, dict) for entry in entries):
            raise RunError(f"{self._path}: damaged (its entries are no objects)")
        return entries


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
