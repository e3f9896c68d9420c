"""What a kind must take and give. It may be a user's own code: what it gets wrong is one line."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from adaspan.errors import UserError, in_words

if TYPE_CHECKING:
    from adaspan.config.schema import RunConfig


class Kind(Protocol):
    """What spans, data and optimizers have in common."""

    group: ClassVar[str]
    kind: str

    def mistakes(self) -> Iterator[str]: ...

    def mistakes_in(self, config: RunConfig) -> Iterator[str]: ...


def method_of(kind: Kind, name: str) -> str:
    """How a method is called in an error: `span=shared: SharedSpanConfig.build`."""
    return f"{kind.group}={kind.kind}: {type(kind).__name__}.{name}"


def cause_of(error: BaseException, file: str | None = None) -> str:
    """`ValueError: no such thing (my_spans.py, line 3)`.

    Args:
        error: that a user's code raised.
        file: that the line is of, if the error comes from there.
    """
    frames = traceback.extract_tb(error.__traceback__)
    last = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
    message, file, line = str(error), last.filename, last.lineno
    if isinstance(error, SyntaxError):
        message, file, line = error.msg, error.filename or file, error.lineno
    return f"{type(error).__name__}: {' '.join(message.split())} ({Path(file).name}, line {line})"


def wrong_signature(own: Callable[..., Any], wanted: Callable[..., Any]) -> str | None:
    """What is wrong with a function that is called as another one is."""
    taken = inspect.signature(wanted)
    words = [
        parameter.replace(annotation=parameter.empty) for parameter in taken.parameters.values()
    ]
    by_name = {word.name: None for word in words if word.kind is word.KEYWORD_ONLY}
    try:
        signature = inspect.signature(own)
    except ValueError:  # of a function that is written in C
        return None
    try:
        signature.bind(*(word.name for word in words if word.name not in by_name), **by_name)
    except TypeError:
        return f"must take {inspect.Signature(words)}, takes {_names(signature)}"
    return None


def _names(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})"


def mistakes_of(kind: Kind) -> Iterator[str]:
    """What a kind says of its own values.

    Raises:
        UserError: its method gives something else than lines.
    """
    yield from _lines(kind, "mistakes", kind.mistakes())


def mistakes_in(kind: Kind, config: RunConfig) -> Iterator[str]:
    """What a kind says of its values beside those of other groups. Raises as `mistakes_of`."""
    yield from _lines(kind, "mistakes_in", kind.mistakes_in(config))


def _lines(kind: Kind, method: str, given: object) -> Iterator[str]:
    if not isinstance(given, list | tuple | Iterator):
        raise UserError(f"{method_of(kind, method)}: must yield lines, returned {in_words(given)}")
    for line in given:
        if not isinstance(line, str):
            raise UserError(f"{method_of(kind, method)}: must yield lines, gave {in_words(line)}")
        yield line
