"""What a person typed, so that Hydra reads what was meant: text stays as typed, a key that each run
of a sweep has is told to each, and a sweep from a run's configuration is a sweep of ours.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from adaspan.config import schema
from adaspan.config.flags import flags_parser
from adaspan.config.kinds.registry import GROUPS, KINDS
from adaspan.config.moved import is_run_folder, missing_files, places_now, read_only
from adaspan.config.resolved import read_values
from adaspan.errors import RunError, UserError

_STRING = (str, str | None)
_STRINGS = (list[str], list[str] | None)
# What a sweep has unless a command line, a file in sweeps/ or a configuration chooses another.
SWEEP_CHOICES = {"sweeper": "grid", "launcher": "local"}

_LAUNCHERS = (schema.LocalLauncherConfig, schema.SlurmLauncherConfig)

_OVERRIDE = re.compile(r"\+{0,2}([\w./]+)=(.+)", re.DOTALL)
_ONE_CHOICE = re.compile(r"=choice\(([^,]*)\)$", re.DOTALL)

# What Hydra reads as a number, a truth value or nothing, where no quotes say that it is text.
_NO_TEXT = re.compile(r"[+-]?[\d_.]+(e[+-]?[\d_]+)?|[+-]?(inf|nan)|true|false|null", re.IGNORECASE)
_PLAIN = re.compile(r"[\w./:~+-]+", re.ASCII)  # what Hydra reads without quotes


def for_hydra(words: Sequence[str]) -> list[str]:
    """The words of a command line as Hydra is to read them. After all kinds are registered."""
    flags, _ = flags_parser().parse_known_args(words)
    typed = as_typed(words)
    sweeps = flags.multirun or any(word.startswith("sweeps=") for word in words)
    first = words.index(flags.overrides[0]) if flags.overrides else len(words)
    added = [*_where_the_run_is_now(flags), *(_launcher_of_ours(flags) if sweeps else [])]
    told = [*typed[:first], *added, *typed[first:]]  # Hydra wants them together
    return [_for_each_run(word) for word in told] if sweeps else told


def as_typed(words: Sequence[str]) -> list[str]:
    """The words of a command line, with quotes around text that Hydra would read otherwise: as a
    number (`tracking.name=1e5`), or not at all (`data.path=a=b.txt`).
    """
    keys = dict(_string_keys())
    parser = OverridesParser.create()
    return [_quoted_where_text(word, keys, parser) for word in words]


def written(value: object) -> str:
    """A value as Hydra reads it on a command line."""
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and (not _PLAIN.fullmatch(value) or _NO_TEXT.fullmatch(value)):
        return quoted(value)
    return str(value)


def quoted(text: str) -> str:
    """Text in the quotes of Hydra, where a backslash counts only before a quote."""
    escaped = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text)
    return f"'{escaped}'"


def is_string(key: str) -> bool:
    """Whether a key holds text, whatever the kind that has it."""
    return any(key == known and not many for known, many in _string_keys())


def said_once(word: str) -> str:
    """A word less what `for_hydra` added to have it told to each run."""
    return _ONE_CHOICE.sub(r"=\1", word)


def _quoted_where_text(word: str, keys: dict[str, bool], parser: OverridesParser) -> str:
    match = _OVERRIDE.fullmatch(word)
    if not match or match[1] not in keys:
        return word
    many, typed = keys[match[1]], match[2]
    before = word.removesuffix(typed)
    try:
        override = parser.parse_override(word)
    except HydraException:  # a list or quotes that are not closed are mistakes, as are `a b,c=d`
        is_text = not many and typed[0] not in "'\"[{" and "," not in typed
        return before + quoted(typed) if is_text else word
    value: Any = override.value()
    if override.is_choice_sweep():
        return before + _quoted_parts(typed, list(value.list))
    if isinstance(value, list):
        return f"{before}[{_quoted_parts(typed.strip()[1:-1], value)}]"
    return before + _quoted_parts(typed, [value])


def _quoted_parts(typed: str, values: Sequence[Any]) -> str:
    """Quotes around each part, between commas, that was read as a number or a truth value."""
    parts = typed.split(",") if len(values) > 1 else [typed]
    if len(parts) != len(values):  # commas within quotes: somebody took care
        return typed
    return ",".join(
        quoted(part.strip()) if isinstance(value, int | float) else part
        for part, value in zip(parts, values, strict=True)
    )


def _string_keys() -> Iterator[tuple[str, bool]]:
    """Every key that holds text, of any kind and launcher; and whether it holds a list of texts."""
    yield from _strings_of(schema.RunConfig, "")
    for group in GROUPS:
        for kind in KINDS[group].values():
            yield from _strings_of(kind, f"{group}.")
    for launcher in _LAUNCHERS:
        yield from _strings_of(launcher, "hydra.launcher.")


def _strings_of(config: Any, prefix: str) -> Iterator[tuple[str, bool]]:
    for key, kind in get_type_hints(config).items():
        if dataclasses.is_dataclass(kind):
            yield from _strings_of(kind, f"{prefix}{key}.")
        elif kind in _STRING or kind in _STRINGS:
            yield f"{prefix}{key}", kind in _STRINGS


def _for_each_run(word: str) -> str:
    """A key that only some kinds have, as the one choice of a sweep: Hydra sets it in each run, and
    not in the default run first, whose kind may lack it.
    """
    match = _OVERRIDE.fullmatch(word)
    group, _, key = match[1].partition(".") if match else ("", "", "")
    if not match or group not in GROUPS or word.startswith("+"):
        return word
    having = [key in get_type_hints(kind) for kind in KINDS[group].values()]
    try:
        sweeps = OverridesParser.create().parse_override(word).is_sweep_override()
    except HydraException:
        return word
    if all(having) or not any(having) or sweeps:
        return word
    return f"{match[1]}=choice({match[2]})"


def _where_the_run_is_now(flags: argparse.Namespace) -> list[str]:
    """The places of a run folder that was moved since its configuration was written.

    Raises:
        UserError: its text is not here, or it may only be read.
    """
    folder = Path(flags.config_path or "")
    if (flags.config_name or "config") not in ("config", "config.yaml"):
        return []
    if not flags.config_path or not is_run_folder(folder):
        return []
    try:
        values = read_values(folder)
        places = places_now(folder, values)
    except (KeyError, RunError):  # Hydra is about to say what is wrong
        return []
    typed = [match[1] for word in flags.overrides if (match := _OVERRIDE.match(word))]
    trains = not (flags.cfg or flags.info)
    mistakes = [*(missing_files(values, typed) if places else []), *read_only(folder, typed)]
    if trains and mistakes:
        raise UserError("\n".join(mistakes))
    return [f"{key}={written(value)}" for key, value in places.items() if key not in typed]


def _launcher_of_ours(flags: argparse.Namespace) -> list[str]:
    """Our sweeper and launcher for a configuration of one's own, such as a run folder's, that
    chooses none: Hydra's own would keep no record and end with the first failure.
    """
    if flags.config_path is None:
        return []
    file = Path(flags.config_path) / (flags.config_name or "config")
    try:
        content = file.with_name(f"{file.name.removesuffix('.yaml')}.yaml").read_text("utf-8")
    except (OSError, UnicodeDecodeError):  # Hydra is about to say that it cannot be read
        return []
    return [
        f"hydra/{group}={chosen}"
        for group, chosen in SWEEP_CHOICES.items()
        if not any(word.startswith(f"hydra/{group}=") for word in flags.overrides)
        and f"override /hydra/{group}" not in content
        and "hydra_choices" not in content
    ]
