"""The kinds that there are, by group and name. Built-in kinds come here as everybody else's do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adaspan.config.kinds.contract import wrong_signature
from adaspan.errors import UserError, in_words
from adaspan.places import EXTENDING, shown

HOW_TO_ADD = f"{shown(EXTENDING)} shows how to add one"

# The groups of a configuration whose options are of several kinds: a dataclass each, whose `kind`
# says in a written configuration which one it is.
GROUPS = ("span", "data", "optimizer")

# Of these, what is registered is a function, and called as these are.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "attention": lambda: None,
    "figure": lambda evaluation: None,
}

KINDS: dict[str, dict[str, Any]] = {group: {} for group in (*GROUPS, *_FUNCTIONS)}

_Kind = TypeVar("_Kind", bound=Callable[..., Any])


def register(group: str, name: str) -> Callable[[_Kind], _Kind]:
    """Make a kind known under a name: `@register("span", "shared")` gives `span=shared`.

    Args:
        group: `span`, `data` or `optimizer`, for a dataclass derived from `SpanConfig`,
            `DataConfig` or `OptimizerConfig`; `attention`, for a function without arguments that
            returns an `Implementation`; `figure`, for a function that makes a number of an
            `Evaluation`.
        name: letters, digits and underscores; that of a figure, its key in a row, also slashes.

    Raises:
        UserError: the name is taken, or the kind is not what its group needs.
    """

    def add(kind: _Kind) -> _Kind:
        for mistake in _mistakes(group, name, kind):
            raise UserError(f'register("{group}", "{name}"): {mistake}')
        if group in GROUPS:
            kind.kind = name  # type: ignore[attr-defined]
        KINDS[group][name] = kind
        return kind

    return add


def extension_of(group: str, name: str) -> str | None:
    """The module that a kind is from, if it can be imported by name; None for a built-in one."""
    module: str = KINDS[group][name].__module__
    return None if module.partition(".")[0] in (__name__.partition(".")[0], "__main__") else module


def _mistakes(group: str, name: str, kind: Any) -> list[str]:
    if group not in KINDS:
        return [f"no such group; one of {', '.join(KINDS)}"]
    if not all(part.isidentifier() for part in (name.split("/") if group == "figure" else [name])):
        slashes = ", with slashes between" if group == "figure" else ""
        return [f"a name has letters, digits and underscores only{slashes}"]
    if group in _FUNCTIONS and not callable(kind):
        return [f"must be a function, is {in_words(kind)}"]
    written = getattr(kind, "__qualname__", None) or in_words(kind)
    derived = getattr(kind, "group", None) == group
    if group in GROUPS and not derived:
        return [f"{written} must be a dataclass derived from adaspan.{group.capitalize()}Config"]
    if group in GROUPS and "__dataclass_fields__" not in vars(kind):
        return [f"{written} must be a dataclass: @dataclass stands below @adaspan.register"]
    if group in GROUPS and kind.build.__qualname__ == f"{group.capitalize()}Config.build":
        return [f"{written} must have a method build"]
    if group in GROUPS and (mistake := _mistake_in_keys(kind)):
        return [f"{written}.{mistake}"]
    if mistake := _mistake_in_signatures(group, kind):
        return [f"{written}{mistake}"]
    if group == "figure":
        for other in KINDS[group]:
            if other != name and other.replace("/", "_") == name.replace("/", "_"):
                return [f"W&B could not tell it from {other}; rename one"]
    before = KINDS[group].get(name)
    # The same again comes of a module that is read again, as in a notebook.
    if before and _origin(before) != _origin(kind):
        return [f"is taken by {'.'.join(_origin(before))}"]
    return []


def _mistake_in_keys(kind: Any) -> str | None:
    """The key whose name, type or default a configuration cannot have."""
    base = _base_of(kind)
    known = {field.name for field in fields(base)} | {"name"}  # which a text may have as a key
    for field in fields(kind):
        if field.name not in known and hasattr(base, field.name):
            return f"{field.name}: {base.__name__} has something of this name; rename the key"
    allowed = "a key is an int, float, bool or str, or a list or dict of them"
    try:
        OmegaConf.structured(kind)
    except OmegaConfBaseException as error:
        return f"{error.full_key}: {str(error).splitlines()[0]}; {allowed}"
    for key, hint in get_type_hints(kind).items():
        if {Path, bytes} & {hint, *get_args(hint)}:  # not to be written down as they are
            return f"{key}: {hint}; {allowed}"
    return None


def _mistake_in_signatures(group: str, kind: Any) -> str | None:
    """The method that cannot be called as those of the group's base are."""
    if group in _FUNCTIONS:
        mistake = wrong_signature(kind, _FUNCTIONS[group])
        return mistake and f" {mistake}"
    base = _base_of(kind)
    for method in ("build", "mistakes", "mistakes_in", "notes_in", "in_model", "connect", "budget"):
        if not hasattr(base, method):
            continue
        if mistake := wrong_signature(getattr(kind, method), getattr(base, method)):
            return f".{method} {mistake}"
    return None


def _base_of(kind: Any) -> Any:
    """`SpanConfig` and its like, of a kind of such a group."""
    return next(part for part in reversed(kind.__mro__) if hasattr(part, "group"))


def _origin(kind: Any) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__
