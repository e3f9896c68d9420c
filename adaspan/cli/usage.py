"""The command `adaspan` as a whole: a mistake in how it is typed is one line, too."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from adaspan.config.extensions import extension_errors_as_one_line
from adaspan.errors import UserError, reported_in_one_line


class Commands(click.Group):
    """A group whose errors are one line on stderr, exit code 2."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **kw: Any) -> Any:
        typed = list(args)
        with reported_in_one_line(), _usage_errors_as_one_line():
            try:
                return super().make_context(info_name, args, *more, **kw)
            except click.NoSuchOption as error:
                raise UserError(self._misplaced(error.option_name, typed)) from None

    def invoke(self, context: click.Context) -> object:
        with reported_in_one_line(), extension_errors_as_one_line(), _usage_errors_as_one_line():
            return super().invoke(context)

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name not in self.commands:
            if "=" in name:
                way_out = f"did you mean: adaspan train {shlex.join(args)}"
            elif close := difflib.get_close_matches(name, self.commands, n=1):
                way_out = f"did you mean: {shlex.join(['adaspan', close[0], *args[1:]])}"
            else:
                way_out = f"one of {', '.join(self.commands)}"
            raise UserError(f"{name}: no such command; {way_out}")
        return super().resolve_command(context, args)

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)  # as they were added, not by the alphabet

    def _misplaced(self, option: str, typed: Sequence[str]) -> str:
        """One line for an option in front of the command, or without one."""
        if command := next((word for word in typed if word in self.commands), None):
            ordered = [command, *(word for word in typed if word != command)]
            return f"{option}: goes after the command: adaspan {shlex.join(ordered)}"
        if option == "-m" or any("=" in word for word in typed):
            return f"{option}: did you mean: adaspan train {shlex.join(typed)}"
        return f"{option}: no such option; adaspan --help"


@contextmanager
def _usage_errors_as_one_line() -> Iterator[None]:
    """Click's answer to a mistake has four lines; the last one says it."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # of `adaspan` alone, which shows the help
        raise
    except click.UsageError as error:
        way_out = f"{error.ctx.command_path} --help" if error.ctx else "adaspan --help"
        raise UserError(f"{_words(error)}; {way_out}") from None


def _words(error: click.UsageError) -> str:
    match error:
        case click.MissingParameter(param=click.Parameter() as parameter):
            return f"{parameter.make_metavar(error.ctx or _NOWHERE)}: is missing"
        case click.BadParameter(param=click.Option() as option):
            return f"{option.opts[0]}: {error.message.rstrip('.')}"
    return error.format_message().rstrip(".")


_NOWHERE = click.Context(click.Command("adaspan"))
