"""A run that was trained by other code is not the one that is asked for."""

from __future__ import annotations

from collections.abc import Iterable

from adaspan.runs.code.fingerprint import Code, changed_files
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.runs.start import Start


def files_changed_since(folder: RunFolder, code: Code) -> list[str]:
    """The files in which this code is not the one that has trained a run so far; none for a run
    that is new.

    A run that is done must be of this code from its first update on. One that goes on must be since
    its last start: it was told of earlier changes.

    Args:
        folder: of the run.
        code: which would train it now.
    """
    if folder.state == State.DONE:
        return changed_since(folder.source.made_by(), code)
    return changed_since(folder.source.made_by(folder.newest_checkpoint())[-1:], code)


def changed_since(starts: Iterable[Start], code: Code) -> list[str]:
    """The files in which the code of some starts is not this one. Versions that did not write it
    down are taken for the same.
    """
    known = [start["code_files"] for start in starts if "code_files" in start]
    return sorted({file for before in known for file in changed_files(before, code)})
