"""Modules of a user's own, which register kinds: found, imported, and what is wrong with them.

A module is imported by its name alone, and only to train or to load a model, never to look at runs.
Installed ones are found by the entry point group `adaspan.extensions`.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import CodeType

from adaspan.config.kinds.code import place_of
from adaspan.config.kinds.contract import cause_of
from adaspan.config.kinds.registry import GROUPS, HOW_TO_ADD, KINDS
from adaspan.errors import ExtensionError, RunError, UserError
from adaspan.places import CODE, FROZEN_EXTENSIONS

_ENTRY_POINTS = "adaspan.extensions"
# The modules that were imported, in that order, and the version of each that is installed.
IMPORTED: dict[str, str | None] = {}


def import_installed() -> None:
    """Import every extension that is installed. One that is broken is left out, which stderr says:
    only a run of its kinds needs it.
    """
    if FROZEN_EXTENSIONS.is_dir():
        _search(FROZEN_EXTENSIONS, first=True)  # before what was edited since
    for entry in metadata.entry_points(group=_ENTRY_POINTS):
        version = entry.dist.version if entry.dist else None
        before = _registered()
        try:
            _import(entry.module, f"installed extension {entry.module}", version)
        except UserError as error:
            for group, kind in _registered().keys() - before.keys():
                del KINDS[group][kind]
            print(f"adaspan: warning: {error}; left out", file=sys.stderr)


def import_extensions(names: Iterable[str]) -> None:
    """Import modules by name: installed ones, those beside launch.py, those in this folder. Only
    after `import_installed`.

    Raises:
        UserError: a module cannot be imported or registers nothing; names it and the cause.
    """
    for name in names:
        _search(CODE)
        if not sys.flags.safe_path:  # as it is in a job
            _search(Path.cwd())
        _import(name, f"extensions=[{name}]")


@contextmanager
def extensions_in_words() -> Iterator[None]:
    """Turn an exception that an extension lets out into one line, an `ExtensionError`:
    `data=csv: Csv.read: KeyError: 'text' (my_data.py, line 32)`. Others pass as they are.
    """
    try:
        yield
    except (UserError, RunError):
        raise
    except Exception as error:
        codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
        own = [(module, code) for code in codes for module in IMPORTED if _has(module, code)]
        if not own:
            raise
        module, entered = own[0]
        called = entered.co_qualname.partition(".<locals>")[0]
        last = cause_of(error, own[-1][1].co_filename)
        raise ExtensionError(f"{_typed(module)}: {called}: {last}") from error


def _has(module: str, code: CodeType) -> bool:
    return Path(code.co_filename).is_relative_to(place_of(module))


def _typed(module: str) -> str:
    """What chooses the only kind of a module, `data=csv`; otherwise what names the module."""
    keys = {group: group for group in GROUPS} | {"attention": "train.attention"}
    kinds = [
        f"{keys[group]}={name}"
        for (group, name), registered_by in _registered().items()
        if registered_by == module and group in keys
    ]
    return kinds[0] if len(kinds) == 1 else f"extensions=[{module}]"


def _search(folder: Path, *, first: bool = False) -> None:
    """Have modules of this folder found; unless it comes first, none hides an installed one."""
    if str(folder) not in sys.path:
        sys.path.insert(0 if first else len(sys.path), str(folder))


def _import(name: str, source: str, version: str | None = None) -> None:
    if not all(part.isidentifier() for part in name.split(".")):
        raise UserError(f"{source}: must be the name of a module: my_spans for my_spans.py")
    if name.endswith(".py"):
        raise UserError(f"{source}: must be a module, not a file: {name.removesuffix('.py')}")
    before = _registered()
    try:
        importlib.import_module(name)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise UserError(f"{source}: {cause_of(error)}") from error
        raise UserError(
            f"{source}: there is no module {error.name}: it must be beside launch.py, in the "
            "current folder, or installed"
        ) from error
    except (Exception, SystemExit) as error:  # whatever a user's code may raise
        raise UserError(f"{source}: {cause_of(error)}") from error
    own = [module for module in _registered().values() if f"{module}.".startswith(f"{name}.")]
    if not own and _registered() == before:
        file = getattr(sys.modules[name], "__file__", None) or "a part of Python"
        raise UserError(
            f"{source}: registers nothing, found as {file}; if that is not yours, give your file "
            f"another name; {HOW_TO_ADD}"
        )
    IMPORTED.setdefault(name, version)


def _registered() -> dict[tuple[str, str], str]:
    """The module of every kind."""
    return {
        (group, name): kind.__module__ for group in KINDS for name, kind in KINDS[group].items()
    }
