"""Keys that came after the first runs were made, and those that hold for one start."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

_ADDED = "added"
# What holds for one start of a run: no part of what a run, a sweep or a search is.
OF_ONE_START = ("train.restart", "train.accept_other_code")


def added_key(default: Any) -> Any:
    """A field of a configuration for a key that older runs do not have.

    At its default, which must change nothing, a run is the one that it was before the key existed,
    and keeps its identity. Every new key is declared like this:

        persistent: int = added_key(0)
    """
    metadata = {_ADDED: True}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


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
    return bool(field.metadata.get(_ADDED)) and value == _default(field)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
