"""The code that a run is trained by, as far as it can change a result: a digest of each file.

What counts is what Python executes: not comments, docstrings and formatting. All of the package
counts, committed or not, but the parts that `DOES_NOT_COUNT` names; so do `launch.py` once it does
more than start the package, modules beside it that these import, and extensions with the modules
beside them that they import.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary

from adaspan.config.extensions import IMPORTED
from adaspan.config.kinds.code import is_installed, place_of
from adaspan.errors import UserError
from adaspan.places import CODE, PACKAGE
from adaspan.runs.code.syntax import digest_of, digests_of

# Parts of the package that plan, start, show and send runs: a result comes out the same without.
# Whatever else there is in the package counts, and so does what is added to it.
DOES_NOT_COUNT = {
    "_plugins": "how Hydra finds launchers and sweepers",
    "cli": "the command adaspan",
    "report": "compares runs",
    "slurm": "submits runs, and starts them on a node",
    "status": "shows what has become of runs",
    "sweep": "chooses runs, whose configurations are part of what they are, and starts them",
    "tracking": "sends rows to W&B; without torch, so it touches no weights",
    "trained": "evaluates, exports and imports what is trained",
}
LAUNCH_FILE = "launch.py"
# Folders beside launch.py with Python that no run imports.
_APART = (PACKAGE.name, "tests", "benchmarks", "docs")
_LAUNCH_AS_SHIPPED = b'from adaspan.__main__ import main\nif __name__ == "__main__":\n    main()\n'
_DIGITS = 12
_MOST_NAMES = 3

Code = Mapping[str, str]  # file, as a person names it: digest
_EXTENSIONS_AS_IMPORTED: WeakKeyDictionary[ModuleType, dict[str, str]] = WeakKeyDictionary()


def note_code() -> None:
    """Note what the package is now, as the program begins: that is what it imports."""
    _package_as_imported.cache_clear()
    _package_as_imported()


def code_of_run(extensions: Iterable[str]) -> Code:
    """The code that trains a run in this process: as it was when it was noted, or else when this
    was first asked for; whatever was edited since.

    Args:
        extensions: modules that the run names; those that are installed are imported by all runs.
    """
    code = dict(_package_as_imported())
    for name in _imported(extensions):
        code |= _EXTENSIONS_AS_IMPORTED.setdefault(sys.modules[name], _extension(name))
    return code


def require_as_imported(extensions: Iterable[str]) -> None:
    """Make sure that `code_of_run` is what was imported, now that all is.

    Raises:
        UserError: a file has been edited meanwhile.
    """
    names = _imported(extensions)
    now = code_in(CODE)
    for name in names:
        now |= _extension(name)
    if edited := changed_files(code_of_run(names), now):
        raise UserError(
            f"{_names(edited)}: edited since this process began; type the command again to train "
            "with that"
        )


@cache
def _package_as_imported() -> Code:
    return code_in(CODE)


def _imported(extensions: Iterable[str]) -> list[str]:
    named = set(extensions)
    return [name for name, version in IMPORTED.items() if version or name in named]


def _extension(name: str) -> dict[str, str]:
    return _digests(_files_of_extension(place_of(name)))


def code_in(root: Path) -> dict[str, str]:
    """The package in a folder, with launch.py and what they import beside it."""
    files = dict(_files_of_package(root))
    for place in modules_beside(root):
        files |= {path.relative_to(root).as_posix(): path for path in _files_of_module(place)}
    digests = _digests(files)
    if digests.get(LAUNCH_FILE) == digest_of(_LAUNCH_AS_SHIPPED):
        del digests[LAUNCH_FILE]  # which an installed package does not have
    return digests


def modules_beside(root: Path) -> list[Path]:
    """Files and folders beside launch.py that it or the package imports, directly or by others."""
    if not (root / LAUNCH_FILE).is_file():
        return []  # of an installed package all others are beside it
    own = {path.stem: path for path in sorted(root.iterdir()) if _is_own_module(path)}
    # Nearly always there is none: then the package need not be parsed.
    waiting = [path for _, path in _files_of_package(root)] if own else []
    found = []
    while waiting:
        for name in sorted(own.keys() & _imported_by(waiting.pop())):
            found.append(own.pop(name))
            waiting += _files_of_module(found[-1])
    return found


def _is_own_module(path: Path) -> bool:
    if path.is_dir():
        return path.name not in _APART and any(path.glob("*.py"))
    return path.suffix == ".py" and path.is_file() and path.name not in (LAUNCH_FILE, "setup.py")


def _files_of_module(place: Path) -> list[Path]:
    return [path for path in sorted(place.rglob("*.py")) if path.is_file()] or [place]


def short(code: Code) -> str:
    """What a person tells codes apart by."""
    return hashlib.sha256(json.dumps(sorted(code.items())).encode()).hexdigest()[:_DIGITS]


def changed_files(before: Code, now: Code) -> list[str]:
    """The files in which two codes differ."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def in_words(files: Sequence[str]) -> str:
    """`adaspan/nn/layers.py and 2 more differ`: edited, added or gone."""
    return f"{_names(files)} {'differs' if len(files) == 1 else 'differ'}"


def _names(files: Sequence[str]) -> str:
    more = len(files) - _MOST_NAMES
    return ", ".join(files[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _digests(files: Mapping[str, Path]) -> dict[str, str]:
    return dict(zip(files, digests_of(files.values(), PACKAGE / "__pycache__"), strict=True))


def _files_of_package(root: Path) -> Iterator[tuple[str, Path]]:
    package = root / PACKAGE.name
    if (root / LAUNCH_FILE).is_file():
        yield LAUNCH_FILE, root / LAUNCH_FILE
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] not in DOES_NOT_COUNT and path.is_file():
            yield path.relative_to(root).as_posix(), path


def _files_of_extension(place: Path) -> dict[str, Path]:
    """Its file or package, and of the modules beside it those that it imports; of installed
    packages only itself: the others have versions.
    """
    found: dict[str, Path] = {}
    waiting = [place]
    while waiting:
        place = waiting.pop()
        for path in _files_of_module(place):
            name = path.relative_to(place.parent).as_posix()
            if path.is_file() and name not in found:
                found[name] = path
                if not is_installed(path):
                    waiting += _beside(place.parent, _imported_by(path))
    return found


def _beside(folder: Path, modules: Iterable[str]) -> list[Path]:
    """Those of the modules that are in a folder, less the package itself."""
    places = [place for name in modules for place in (folder / name, folder / f"{name}.py")]
    return [place for place in places if place.exists() and place != PACKAGE]


def _imported_by(path: Path) -> set[str]:
    """The first words of all that a file imports, wherever in it."""
    nodes: list[ast.AST] = []
    with suppress(SyntaxError, ValueError):
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names} - {""}
