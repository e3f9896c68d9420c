"""Spares the tests half of what Hydra does for a configuration: they compose hundreds of them.

Hydra reads the same files each time, parses the same references, copies all that is known to its
store, although it copies once more what it takes from there, and gathers what references in lists
of defaults could name also for the lists without any.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import omegaconf._utils
import omegaconf.base
from hydra._internal import defaults_list
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf, grammar_parser

_known: dict[str, Any] = {}
_parse_yaml = OmegaConf.load
_parse_reference = cache(grammar_parser.parse)
_gather_choices = defaults_list._create_interpolation_map


def remember() -> None:
    """From now on, in this process."""
    OmegaConf.load = staticmethod(_load)  # type: ignore[method-assign, assignment]
    for module in (omegaconf.base, omegaconf._utils):
        vars(module)["parse"] = _parse_reference
    vars(defaults_list)["_create_interpolation_map"] = _choices
    ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]


def _choices(overrides: Any, defaults: list[Any], self_added: bool) -> Any:
    if any(default.is_interpolation() for default in defaults):
        return _gather_choices(overrides, defaults, self_added)
    return None


def _load(file: Any) -> Any:
    if not hasattr(file, "read"):
        return _parse_yaml(file)
    text = file.read()
    if text not in _known:
        file.seek(0)
        _known[text] = _parse_yaml(file)  # which names the file in an error
    return copy.deepcopy(_known[text])
