"""Keys that came after the first runs were made, and those that hold for one start."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

_ADDED = "added"
_SAME = object()
# What holds for one start of a run: no part of what a run, a sweep or a search is.
OF_ONE_START = ("train.restart", "train.accept_other_code")


def added_key(as_before: Any, *, default: Any = _SAME) -> Any:
    """A field of a configuration for a key that older runs do not have.

    At the value that changes nothing a run is the one that it was before the key existed, and keeps
    its identity. Every new key is declared like this, and every new group of keys:

        persistent: int = added_key(0)
        schedule: ScheduleConfig = added_key(ScheduleConfig())

    Args:
        as_before: the value that changes nothing. It is never changed: older runs would pass for
            runs of the new value.
        default: another value for runs to come, whose identity has it.
    """
    value = as_before if default is _SAME else default
    metadata = {_ADDED: copy.deepcopy(as_before)}
    if value.__hash__ is None:  # a list, a dict, a dataclass: each configuration has its own
        return dataclasses.field(default_factory=lambda: copy.deepcopy(value), metadata=metadata)
    return dataclasses.field(default=value, metadata=metadata)


def values_of(config: Any) -> dict[str, Any]:
    """All keys and values of a configuration, nested, less those added at their defaults."""
    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if _as_before(field, value):
            continue
        values[field.name] = values_of(value) if dataclasses.is_dataclass(value) else value
    return values


def without_added(values: Mapping[str, Any], of: type) -> dict[str, Any]:
    """The values that a configuration was written with, less those added at their defaults.

    Args:
        values: by key.
        of: the class of the configuration.
    """
    fields = {field.name: field for field in dataclasses.fields(of)}
    return {
        key: value
        for key, value in values.items()
        if key not in fields or not _as_before(fields[key], value)
    }


def _as_before(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether the key came later and changes nothing."""
    return _ADDED in field.metadata and bool(value == field.metadata[_ADDED])
