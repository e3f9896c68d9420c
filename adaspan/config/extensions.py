"""Modules of a user's own, which register kinds: found, imported, and what is wrong with them.

A module is imported by its name alone, and only to train or to load a model, never to look at runs.
Installed ones are found by the entry point group `adaspan.extensions`.
"""

from __future__ import annotations

import difflib
import importlib
import os
import shlex
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import CodeType
from typing import Any

from adaspan.config.kinds.code import place_of
from adaspan.config.kinds.contract import cause_of
from adaspan.config.kinds.registry import GROUPS, HOW_TO_ADD, KINDS
from adaspan.errors import ExtensionError, RunError, UserError
from adaspan.places import CODE, FROZEN_EXTENSIONS, IS_INSTALLED

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
        try:
            _import(entry.module, f"installed extension {entry.module}", version)
        except UserError as error:
            print(f"adaspan: warning: {error}; left out", file=sys.stderr)


def import_extensions(names: Iterable[str], before: Mapping[str, Path] | None = None) -> None:
    """Import modules by name: installed ones, those beside launch.py, those in this folder. Only
    after `import_installed`.

    Args:
        names: of the modules.
        before: where a run that is to go on or to be loaded had its modules.

    Raises:
        UserError: a module cannot be imported or registers nothing; names it and the cause.
    """
    for name in names:
        _search(CODE)
        if not sys.flags.safe_path:  # as it is in a job
            _search(Path.cwd())
        _import(name, f"extensions=[{name}]", before=(before or {}).get(name))


def import_extensions_of_model(values: Mapping[str, Any], before: Mapping[str, Path]) -> None:
    """Import the modules of a run whose model is to be used. One that cannot be imported is done
    without if what the model is made of is known: it had figures, data or an optimizer.

    Args:
        values: of the run's configuration, nested.
        before: as in `import_extensions`.

    Raises:
        UserError: likewise.
    """
    refusals = []
    for name in values.get("extensions", []):
        try:
            import_extensions([name], before)
        except UserError as error:
            refusals.append(str(error))
    attention = values.get("train", {}).get("attention", "auto")
    has_attention = attention in ("auto", *KINDS["attention"])
    if refusals and not (has_attention and values["span"]["kind"] in KINDS["span"]):
        raise UserError("\n".join(refusals))


@contextmanager
def extension_errors_as_one_line() -> Iterator[None]:
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


def _import(name: str, source: str, version: str | None = None, before: Path | None = None) -> None:
    if not all(part.isidentifier() for part in name.split(".")):
        raise UserError(f"{source}: must be the name of a module: my_spans for my_spans.py")
    if name.endswith(".py"):
        raise UserError(f"{source}: must be a module, not a file: {name.removesuffix('.py')}")
    known = _registered()
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever a user's code may raise
        for group, kind in _registered().keys() - known.keys():
            if _is_in(KINDS[group][kind].__module__, name):  # not those of a module that is whole
                del KINDS[group][kind]
        raise UserError(f"{source}: {_why_not(name, error, before)}") from error
    own = [module for module in _registered().values() if _is_in(module, name)]
    if not own and _registered() == known:
        file = getattr(sys.modules[name], "__file__", None) or "a part of Python"
        raise UserError(
            f"{source}: registers nothing, found as {file}; if that is not yours, give your file "
            f"another name; {HOW_TO_ADD}"
        )
    IMPORTED.setdefault(name, version)


def _why_not(name: str, error: BaseException, before: Path | None) -> str:
    """Why a module could not be imported, and where one that is missing may be."""
    if isinstance(error, UserError):
        return str(error)
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return cause_of(error)
    if not _is_in(name, error.name):  # it imports something else
        return cause_of(error)
    missing = f"there is no module {error.name}"
    if before and os.access(before, os.R_OK):
        folder = shlex.quote(str(before.parent))
        way_out = f"start in {folder}, or with PYTHONPATH={folder}"
        return f"{missing}: the run had it from {before}; {way_out}"
    if before:
        missing += f", and {before}, which the run had, cannot be read"
    beside = [] if IS_INSTALLED else [CODE]
    here = [file.stem for folder in (Path.cwd(), *beside) for file in folder.glob("*.py")]
    if close := difflib.get_close_matches(name, here, n=1):
        return f"{missing}: did you mean {close[0]}?"
    return (
        f"{missing}: it must be {'beside launch.py, ' * len(beside)}in the current folder, in one "
        "that PYTHONPATH names, or installed"
    )


def _is_in(module: str, package: str) -> bool:
    """Whether it is this module, or one of this package."""
    return f"{module}.".startswith(f"{package}.")


def _registered() -> dict[tuple[str, str], str]:
    """The module of every kind."""
    return {
        (group, name): kind.__module__ for group in KINDS for name, kind in KINDS[group].items()
    }
