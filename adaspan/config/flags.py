"""The flags of a command line. Hydra acts on them; here a mistake in them becomes one line."""

from __future__ import annotations

import argparse
import sys
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


def require_known_flags() -> None:
    """Raise `UserError` for what Hydra would answer with a list of all its flags: one that it does
    not know or that lacks its value, and `key=value` on both sides of a flag.

    Hydra's `--experimental-rerun` is no flag of ours: it opens a pickle.
    """
    _, unknown = flags_parser().parse_known_args(sys.argv[1:])
    for word in unknown[:1]:
        if word.startswith("-"):
            raise UserError(f"{word}: no such flag; {LAUNCH} --help")
        raise UserError(f"{word}: put flags such as -m before all key=value overrides")


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
