"""Checks of single values. Each yields what is wrong, as `key=value: what is allowed`."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

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


def _takes_folders(path: Path) -> bool:
    """Whether a folder can be made there: in /proc, for one, not even root can."""
    try:
        Path(tempfile.mkdtemp(dir=path)).rmdir()
    except FileNotFoundError:
        return False
    except OSError:  # nothing that is wrong with the path: a full disk, for one
        return True
    return True


def readable_splits(key: str, folder: Path) -> Iterator[str]:
    """Whether a folder has files for train, valid and test that can be read."""
    from adaspan.data.sources import split_files

    try:
        files = split_files(folder)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"has {error}"
        yield f"{key}={folder}: {reason}; name them: data.train, data.valid, data.test"
        return
    for path in files.values():
        yield from readable_file(key, str(path))


def readable_file(key: str, value: str) -> Iterator[str]:
    path = Path(value).expanduser()
    if not path.exists():
        yield f"{key}={value}: no such file"
    elif path.is_dir():
        yield f"{key}={value}: is a folder, must be a file"
    elif path.stat().st_size == 0:
        yield f"{key}={value}: the file is empty"
    elif not os.access(path, os.R_OK):
        yield f"{key}={value}: the file may not be read"
