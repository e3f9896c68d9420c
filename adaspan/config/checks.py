"""Checks of single values. Each yields what is wrong, as `key=value: what is allowed`."""

from __future__ import annotations

import errno
import math
import os
import stat
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from adaspan.errors import UserError

# Beyond it no sizes are meant, and torch could not even count them.
_LARGEST = 2**53


def at_least(key: str, value: float, least: float) -> Iterator[str]:
    if not math.isfinite(value):
        yield f"{key}={value}: must be a finite number"
    elif value < least:
        yield f"{key}={value}: must be at least {least}"
    elif value > _LARGEST:
        yield f"{key}={value}: must be at most {_LARGEST}"


def above_zero(key: str, value: float) -> Iterator[str]:
    if not math.isfinite(value):
        yield f"{key}={value}: must be a finite number"
    elif value <= 0:
        yield f"{key}={value}: must be above 0"


def probability(key: str, value: float) -> Iterator[str]:
    if not 0 <= value < 1:
        yield f"{key}={value}: must be at least 0 and below 1"


def one_of(key: str, value: str, allowed: Collection[str]) -> Iterator[str]:
    if value not in allowed:
        yield f"{key}={value}: must be one of {', '.join(allowed)}"


def writable_folder(key: str, path: Path) -> Iterator[str]:
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not existing.is_dir():
        yield f"{key}={path}: {existing} is a file, must be a folder"
    elif not os.access(existing, os.W_OK):
        yield f"{key}={path}: {existing} may not be written to"
    elif existing != path and not _takes_folders(existing):
        yield f"{key}={path}: cannot be created"


def require_writable(option: str, folder: Path) -> None:
    """Raise `UserError` if a folder that an option of a command names cannot be written to."""
    for mistake in writable_folder(option, folder):
        raise UserError(mistake.replace("=", " ", 1))


def _takes_folders(path: Path) -> bool:
    """Whether a folder can be made there: in /proc, for one, not even root can."""
    try:
        Path(tempfile.mkdtemp(dir=path)).rmdir()
    except FileNotFoundError:
        return False
    except OSError:  # nothing that is wrong with the path: a full disk, for one
        return True
    return True


def readable_splits(key: str, folder: Path, *, words: bool) -> Iterator[str]:
    """Whether a folder has files for train, valid and test that can be read."""
    from adaspan.data.sources import split_files

    try:
        files = split_files(folder, words=words)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"has {error}"
        yield f"{key}={folder}: {reason}; name them: data.train, data.valid, data.test"
        return
    for path in files.values():
        yield from readable_file(key, str(path))


def readable_file(key: str, value: str) -> Iterator[str]:
    path = Path(value).expanduser()
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        yield f"{key}={value}: {_why_not_there(path, error)}"
        return
    if stat.S_ISDIR(mode):
        yield f"{key}={value}: is a folder, must be a file"
    elif stat.S_ISFIFO(mode):
        yield (
            f"{key}={value}: is a pipe, which can be read once, but a run reads its text at every "
            f"start; save it in a file first: cat {value} > FILE"
        )
    elif not stat.S_ISREG(mode) and not path.samefile(os.devnull):  # which is empty
        kind = "socket" if stat.S_ISSOCK(mode) else "device"
        yield f"{key}={value}: is a {kind}, must be a file"
    elif not os.access(path, os.R_OK):
        yield f"{key}={value}: the file may not be read"
    elif path.stat().st_size == 0 and _is_empty(path):
        yield f"{key}={value}: the file is empty"


def _why_not_there(path: Path, error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return "is no name of a file"
    if error.errno != errno.ENOENT:
        return error.strerror or "cannot be looked at"
    if path.is_symlink():
        return f"is a link to {path.readlink()}, where there is no file"
    return "no such file"


def _is_empty(path: Path) -> bool:
    """Some files of the system have a size of 0, and yet a content."""
    with path.open("rb") as file:
        return not file.read(1)


def known_encoding(key: str, value: str) -> Iterator[str]:
    from adaspan.data.textfile import is_encoding

    if not is_encoding(value):
        yield f"{key}={value}: no such encoding; name one as utf-8, latin-1 or cp1251, or raw"
