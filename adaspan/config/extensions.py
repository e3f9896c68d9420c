"""Modules of a user's own, which register kinds: found, imported, and what is wrong with them.

A module is imported by its name alone, and only to train or to load a model, never to look at runs.
Installed ones are found by the entry point group `adaspan.extensions`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from adaspan.config.kinds.contract import cause_of
from adaspan.config.kinds.registry import HOW_TO_ADD, KINDS
from adaspan.errors import UserError
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
