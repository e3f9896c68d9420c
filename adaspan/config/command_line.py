"""What a command line names, read before Hydra composes: extensions, and folders of options."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from adaspan.config.flags import flags_parser
from adaspan.errors import UserError
from adaspan.places import CONF, DEFAULTS

_TYPED: list[str] = []


def note_typed(words: Sequence[str]) -> None:
    """Keep the words of the command line as they were typed."""
    _TYPED[:] = words


def typed_words() -> list[str]:
    """The words of the command line as they were typed, which Hydra reads in another form."""
    return list(_TYPED)


def option_folders(words: Sequence[str]) -> list[Path]:
    """Where a command line has Hydra look for options: the configuration's own folder first."""
    flags, _ = flags_parser().parse_known_args(words)
    main = [folder] if (folder := named_folder(words)) else []
    own = [Path(flags.config_dir)] if flags.config_dir else []
    return [*main, CONF, *own, DEFAULTS]


def named_folder(words: Sequence[str]) -> Path | None:
    """The folder that `--config-path` names, as that of a run."""
    flags, _ = flags_parser().parse_known_args(words)
    return Path(flags.config_path) if flags.config_path else None


def named_extensions(words: Sequence[str]) -> list[str]:
    """The modules that a command line names, or a file that it names: the configuration itself, and
    every `GROUP=OPTION`, wherever that is found; not what these name in their turn.
    """
    flags, _ = flags_parser().parse_known_args(words)
    folders = option_folders(words)
    files = [folders[0] / (flags.config_name or "config")]
    names: list[str] = []
    for key, value in _values(flags.overrides):
        if key == "extensions":
            names += _names(value)
        elif difflib.get_close_matches(key, ["extensions"], cutoff=0.85):  # else told of the kinds
            raise UserError(f"{key}: no such key; did you mean extensions?")
        elif isinstance(value, str) and "." not in key and not Path(value).is_absolute():
            files += [folder / key / value for folder in folders]
    for file in files:
        names += _named_in(file.with_name(f"{file.name.removesuffix('.yaml')}.yaml"))
    return list(dict.fromkeys(names))


def _values(overrides: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Keys and their values; in a sweep, each of them."""
    parser = OverridesParser.create()
    for word in overrides:
        try:
            override = parser.parse_override(word)
        except HydraException:  # it is about to say that the word cannot be read
            continue
        several = override.is_choice_sweep()
        for value in override.sweep_iterator() if several else [override.value()]:
            yield override.key_or_group, value


def _named_in(file: Path) -> list[str]:
    try:
        content = OmegaConf.to_container(OmegaConf.load(file))
    except (OSError, YAMLError, OmegaConfBaseException):  # likewise
        return []
    return _names(content.get("extensions", [])) if isinstance(content, dict) else []


def _names(value: object) -> list[str]:
    if not isinstance(value, list):
        raise UserError(f"extensions={value}: must be a list of modules: 'extensions=[my_spans]'")
    return [str(name) for name in value]
