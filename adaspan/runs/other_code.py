"""A run that was trained by other code is not the one that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from adaspan.places import CODE, PACKAGE
from adaspan.runs.code.fingerprint import Code, changed_files, code_in
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.runs.start import Start

_OF_PACKAGE = (f"{PACKAGE.name}/", "launch.py")


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


def files_other_here(folder: RunFolder) -> list[str]:
    """The files of the package that have trained a run and are others in this one. Extensions are
    left out: who only looks does not import them.
    """
    here = code_in(CODE)
    changed = changed_since(folder.source.made_by(), here)
    return [file for file in changed if file.startswith(_OF_PACKAGE) or file in here]


def files_other_in(frozen: Path, code: Code) -> list[str]:
    """The files of the package that are others in a copy of the code than in this one."""
    before = code_in(frozen)
    files = changed_files(before, code)
    return [file for file in files if file.startswith(_OF_PACKAGE) or file in before]


def changed_since(starts: Iterable[Start], code: Code) -> list[str]:
    """The files in which the code of some starts is not this one. Versions that did not write it
    down are taken for the same.
    """
    known = [start["code_files"] for start in starts if "code_files" in start]
    return sorted({file for before in known for file in changed_files(before, code)})
