"""The flags of a command line: Hydra acts on them, here a mistake in them becomes one line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from adaspan.errors import UserError
from adaspan.places import LAUNCH

_SWITCHES = (
    ("--help", "-h"),
    ("--hydra-help",),
    ("--version",),
    ("--resolve",),
    ("--run", "-r"),
    ("--multirun", "-m"),
    ("--shell-completion", "-sc"),
)
_WITH_VALUE = (
    ("--package", "-p"),
    ("--config-path", "-cp"),
    ("--config-name", "-cn"),
    ("--config-dir", "-cd"),
)
_CFG = ("job", "hydra", "all")
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message.removeprefix('argument ')}; {LAUNCH} --help")


def checked(words: Sequence[str]) -> list[str]:
    """The words of a command line as Hydra is to read them: a relative `--config-path` starts in
    this folder.

    Hydra's `--experimental-rerun` is no flag of ours: it opens a pickle.

    Raises:
        UserError: a flag that is unknown or lacks its value, `key=value` on both sides of a flag,
            no such folder. Hydra would answer with all its flags or a trace.
    """
    flags, unknown = flags_parser().parse_known_args(words)
    for word in unknown[:1]:
        if word.startswith("-"):
            raise UserError(f"{word}: no such flag; {LAUNCH} --help")
        raise UserError(f"{word}: put flags such as -m before all key=value overrides")
    if flags.config_name and flags.config_name.endswith(".yml"):
        raise UserError(f"--config-name {flags.config_name}: the file's name must end in .yaml")
    if flags.config_path is None or flags.config_path.startswith("pkg://"):
        return list(words)
    folder = Path(os.path.normpath(Path(flags.config_path).expanduser().absolute()))
    if not folder.is_dir():
        raise UserError(f"--config-path {flags.config_path}: no such folder")
    return [*words, "--config-path", str(folder)]


def flags_parser() -> argparse.ArgumentParser:
    """Reads what Hydra 1.3 reads, whose own parser is private."""
    parser = _Parser(add_help=False)
    parser.add_argument("overrides", nargs="*")
    for names in _SWITCHES:
        parser.add_argument(*names, action="store_true")
    for names in _WITH_VALUE:
        parser.add_argument(*names)
    parser.add_argument("--cfg", "-c", choices=_CFG)
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=_INFO)
    return parser
