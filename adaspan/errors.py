"""The errors that end a command or a run on purpose, and their exit codes."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from adaspan import stdout
from adaspan.ranks import rank

# Errors of the system where something may be read only.
MAY_NOT_WRITE = {errno.EACCES, errno.EPERM, errno.EROFS}
# Those that the user can fix: permissions, a full disk.
_REFUSED_BY_THE_SYSTEM = {*MAY_NOT_WRITE, errno.ENOSPC, errno.EDQUOT}


# How long the main process may take to report an error that all processes have.
MAIN_PROCESS_SPEAKS_S = 5.0


class UserError(Exception):
    """A mistake that the user can fix: one line that names the thing, the value, the way out."""

    exit_code = 2


class ProcessError(UserError):
    """A mistake that any one of several processes may see, perhaps not the main one."""


class SharedError(UserError):
    """A mistake that every one of several processes sees: the main one reports it for all."""


class RunError(Exception):
    """A run that cannot go on (non-finite loss, full disk, damaged checkpoints): one clear line."""

    exit_code = 1


class NonFiniteError(RunError):
    """A loss or a weight is no longer a number."""


class KindError(RunError):
    """A kind of the user's own does not do what it must: its code must be fixed."""

    exit_code = UserError.exit_code


class ExtensionError(RunError):
    """An exception of a user's own code, which is the cause."""


class LostPeerError(RunError):
    """Processes that train together lost one another; another try may succeed."""

    exit_code = os.EX_TEMPFAIL


class NotMetError(LostPeerError):
    """A process has waited in vain for the others that it was told of."""


class NoMemoryError(RunError):
    """A device is out of memory: any one of several processes may see it."""


class DiskError(RunError):
    """A file cannot be written."""


def in_words(value: object) -> str:
    """What a function gave, where that is wrong: `None`, `the class SGD`, `a str`."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


@contextmanager
def from_extra(extra: str, feature: str) -> Iterator[None]:
    """Import, in this block, what only an extra of the package installs.

    Args:
        extra: its name in pyproject.toml.
        feature: what the user asked for, as it was typed.

    Raises:
        UserError: it is not installed; says how to install it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "more").partition(".")[0]
        raise UserError(f"{feature}: needs {package}; pip install 'adaspan[{extra}]'") from error


@contextmanager
def reported_in_one_line(*, of_a_run: bool = False) -> Iterator[None]:
    """Turn the errors above into lines on stderr and an exit code; real bugs show their trace.

    Args:
        of_a_run: this may be one of several processes that train together. The main process reports
            errors for all. Its launcher ends the others as soon as one has ended, so they give it
            time to speak; an error of which it has not spoken by then is theirs alone, and they do.
    """
    try:
        try:
            yield
        finally:
            stdout.flush()  # here, where what goes wrong is told
    except (UserError, RunError) as error:
        if not (of_a_run and rank() > 0) or _must_tell_itself(error):
            for line in str(error).splitlines():
                print(f"adaspan: error: {line}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        if not stdout.is_unread():
            raise
        stdout.discard()
        raise SystemExit(128 + signal.SIGPIPE) from None
    except OSError as error:
        if error.errno not in _REFUSED_BY_THE_SYSTEM:
            raise
        print(f"adaspan: error: {_refusal(error)}", file=sys.stderr)
        raise SystemExit(RunError.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None


def _must_tell_itself(error: UserError | RunError) -> bool:
    """Whether an error is not told by the main process, which has had time to by then."""
    if isinstance(error, ProcessError | NoMemoryError | NotMetError):
        return True
    if isinstance(error, SharedError | LostPeerError):
        return False
    time.sleep(MAIN_PROCESS_SPEAKS_S)
    return True


def _refusal(error: OSError) -> str:
    if error.filename is None:  # what writes files names them
        stdout.discard()
        return f"stdout: {error.strerror}"
    return (
        f"{error.filename}: {error.strerror}; fix this, or choose another "
        "output_dir or data_dir, and type the same command again"
    )
