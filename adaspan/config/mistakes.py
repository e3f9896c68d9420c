"""Errors of Hydra and OmegaConf as one line that names the key, the value and the way out."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from yaml import MarkedYAMLError

from adaspan.config import schema
from adaspan.config.kinds.registry import GROUPS, HOW_TO_ADD, KINDS
from adaspan.config.typed import is_string, quoted
from adaspan.errors import UserError, reported_in_one_line
from adaspan.places import SWEEPS, shown


@contextmanager
def explained_errors() -> Iterator[None]:
    """Turn the errors of Hydra and OmegaConf into a `UserError`."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(error)) from error
    except MarkedYAMLError as error:
        place = error.problem_mark
        where = f"{place.name}, line {place.line + 1}: " if place else ""
        raise UserError(f"{where}{error.problem}") from error
    except ValueError as error:
        if "Config group override must be" in str(error):  # Hydra's answer to model=null
            raise UserError("a group needs the name of one of its options, not null") from error
        if str(error).startswith(("Only one of --run", "Expecting one subcommand")):
            raise UserError(str(error)) from error
        raise


@contextmanager
def user_errors() -> Iterator[None]:
    """Report every mistake in a command line or a YAML file in one line each, exit code 2.

    `HYDRA_FULL_ERROR=1` shows Hydra's own trace instead.
    """
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints and exits before its error gets here
    explained = nullcontext() if before == "1" else explained_errors()
    try:
        with reported_in_one_line(of_a_run=True), explained:
            yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]


def _explain(error: Exception) -> str:
    """One line for an error of Hydra or OmegaConf, which may have five."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        if not group:
            return f"--config-name {option}: there is no {option}.yaml where --config-path points"
        if (group, option) == ("hydra/sweeper", "optuna"):
            return "hydra/sweeper=optuna: needs Optuna; pip install 'adaspan[search]'"
        if group == "_schema":
            group, _, option = option.partition("_")
        asking = re.match(r"In '([^']*)/([^'/]*)'", str(error))  # none: a run folder
        if asking and group in GROUPS:
            return (
                f"{asking[1]}={asking[2]}: its file needs the kind {group}={option}, which is not "
                f"known; name its module: 'extensions=[MODULE]'; {HOW_TO_ADD}"
            )
        if group in GROUPS:
            return unknown_kind(group, option, error.options or [])
        return f"{group}={option}: no such option{_way_out(option, error.options or [])}"
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override))
    if isinstance(cause, InterpolationKeyError):
        return f"{cause.full_key}: {str(cause).splitlines()[0]}"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        typed = re.search(r"To append to your config use \+(.*)", str(error))
        return unknown_key(cause.full_key, cause.object_type, typed[1] if typed else None)
    if isinstance(cause, MissingMandatoryValue) and cause.full_key:
        return f"{cause.full_key}: needs a value"
    if match := re.match(r"In '([^']*)': \w+ raised while composing config:\s*(.*)", str(error)):
        if match[1].startswith("sweeps/wandb/"):
            file = SWEEPS.parent / f"{match[1]}.yaml"
            key = match[1].replace("/", "=", 1)
            return f"{key}: is a file for W&B; type: wandb sweep {shown(file)}"
        return f"{match[1]}.yaml: {_explain_in_file(error.__context__, match[2])}"
    if match := re.match(
        r"Could not override '([\w/]+)'\. No match in the defaults list", str(error)
    ):
        return (
            f"{match[1]}: the configuration that --config-path names has its own {match[1]}, of "
            f"which only keys can be set; leave out --config-path to choose another"
        )
    if match := re.match(r"Multiple values for ([\w/@]+)\. To override", str(error)):
        return f"{match[1]}: chosen already; write {match[1]}=OPTION, without a plus"
    if match := re.search(r"Could not append to config. An item is already at '(.*?)'", str(error)):
        return f"{match[1]}: has a value already; write {match[1]}=VALUE, without a plus"
    if match := re.match(r"Additional config directory '(.*)' not found", str(error)):
        return (
            f"--config-dir {shown(Path(match[1]))}: no such folder; it is to hold options of your "
            "own, as GROUP/OPTION.yaml"
        )
    if match := re.match(r"Ambiguous value for argument '(.*)'", str(error)):
        return _several_values(match[1])
    if match := re.match(r"Error merging override (.*)", str(error)):
        return f"{match[1]}: {_wanted_type(str(cause).splitlines()[0])}"
    return " ".join(str(error if cause is error else f"{error}: {cause}").split())


def _unreadable(word: str) -> str:
    """One line for an override that Hydra cannot parse, with the quotes that a value may need."""
    key, _, value = word.partition("=")
    if value.endswith(","):
        return f"{word}: cannot be read; leave out the space after the comma"
    if value[:1] in "[{":  # a list that is not closed, or no value at all
        return f"{word}: cannot be read; write key=value"
    return f"{word}: cannot be read; quote the value: {_in_quotes(key, value)}"


def _several_values(word: str) -> str:
    """One line for `key=a,b` without -m; a file may have a comma in its name."""
    key, _, value = word.partition("=")
    or_text = f", or quote a value that has commas: {_in_quotes(key, value)}"
    way_out = "add -m to train one run for each"
    return f"{word}: several values; {way_out}{or_text if is_string(key) else ''}"


def _in_quotes(key: str, value: str) -> str:
    """What to type in a shell for a value that Hydra is to take as text."""
    word = f"{key}={quoted(value)}"
    return shlex.quote(word) if re.search(r'["$`\\]', value) else f'"{word}"'


def _explain_in_file(cause: BaseException | None, message: str) -> str:
    """What is wrong in a YAML file: with a key, or with its value."""
    if match := re.match(r"Merge error: \w+ is not a subclass of (\w+)\. value: (.*)", message):
        part = _part_of(match[1])
        return (
            f"{part}: {match[2]}: must hold keys; an option is chosen by "
            f"defaults: [override /{part}: OPTION]"
        )
    if not isinstance(cause, OmegaConfBaseException) or not cause.full_key:
        return message
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return unknown_key(cause.full_key, cause.object_type)
    return f"{cause.full_key}: {_wanted_type(message)}"


def _part_of(schema_class: str) -> str:
    """The key of a configuration that holds such a class; the class if there is none."""
    for field in dataclasses.fields(schema.RunConfig):
        kinds = [field.default_factory, *KINDS.get(field.name, {}).values()]
        if schema_class in [getattr(kind, "__name__", "") for kind in kinds]:
            return field.name
    return schema_class


def unknown_kind(group: str, name: str, options: Iterable[str]) -> str:
    """One line for a kind that is not registered, nor an option of its group."""
    name_it = f"name the module of one of your own: 'extensions=[MODULE]'; {HOW_TO_ADD}"
    known = sorted({*KINDS[group], *(option for option in options if "_schema" not in option)})
    return f"{group}={name}: no such option; one of {', '.join(known)}; {name_it}"


def unknown_key(full_key: str, schema_class: Any, typed: str | None = None) -> str:
    """One line for a key that is not there.

    Args:
        full_key: its path, as far as the last part that is missing.
        schema_class: what should hold it.
        typed: key and value as they were given, if known.
    """
    group, _, key = full_key.rpartition(".")
    refusal = f"{typed or full_key}: no such key"
    having = [kind for kind, node in KINDS.get(group, {}).items() if key in keys_of(node)]
    if having:
        kinds = " and ".join(f"{group}={kind}" for kind in having)
        own = getattr(schema_class, "kind", "its kind")
        have = "have" if len(having) > 1 else "has"
        return f"{typed or full_key}: {group}={own} has no such key; {kinds} {have} it"
    for field in dataclasses.fields(schema.RunConfig):
        if not group and key in keys_of(field.default_factory):
            return f"{refusal}; did you mean {field.name}.{key}?"
    return refusal + _way_out(key, keys_of(schema_class), f"{group}." if group else "")


def _way_out(typed: str, known: Iterable[str], prefix: str = "") -> str:
    known = [name for name in known if not name.startswith("_")]
    if close := difflib.get_close_matches(typed, known, n=1):
        return f"; did you mean {prefix}{close[0]}?"
    return f"; one of {', '.join(known)}" if known else ""


def _wanted_type(message: str) -> str:
    """OmegaConf's class names in words: `could not be converted to Integer` and the like."""
    for part, words in (
        ("to Integer", "must be a whole number"),
        ("to Float", "must be a number"),
        ("valid bool", "must be true or false"),
        ("is not Optional", "needs a value"),
        ("Incompatible value 'None'", "needs a value"),
        ("is not a ListConfig", "must be a list: [a,b]"),
    ):
        if part in message:
            return words
    return message


def keys_of(schema_class: Any) -> list[str]:
    if not dataclasses.is_dataclass(schema_class):
        return []
    return [field.name for field in dataclasses.fields(schema_class)]
