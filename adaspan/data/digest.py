"""SHA-256 of files: a text is known by it, and so is what was prepared from it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_CHUNK_BYTES = 16 << 20
# A file that changed so lately may change again without another time of change.
_SETTLED_NS = 2 * 10**9
_known: dict[tuple[object, ...], str] = {}


def file_sha256(path: Path) -> str:
    """Of the content. Within a process a file is read again only if it may have changed."""
    return remembered(path, "file", lambda: _sha256(path))


def remembered(path: Path, what: str, compute: Callable[[], str]) -> str:
    """What was computed of a file, computed anew if it may have changed since.

    Args:
        path: of the file.
        what: is computed of it.
        compute: does so.
    """
    status = path.stat()
    if time.time_ns() - status.st_ctime_ns < _SETTLED_NS:
        return compute()
    # Nobody can set the time of change back, as one can the time of modification.
    times = (status.st_mtime_ns, status.st_ctime_ns)
    key = (what, path, status.st_dev, status.st_ino, status.st_size, *times)
    if key not in _known:
        _known[key] = compute()
    return _known[key]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def chunk_digests(path: Path) -> list[str]:
    """SHA-256 of every 16 MB of a file, computed by all processors: hashing does not hold Python's
    lock.
    """
    starts = range(0, path.stat().st_size, _CHUNK_BYTES)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return [*threads.map(lambda start: _chunk_sha256(path, start), starts)]


def _chunk_sha256(path: Path, start: int) -> str:
    with path.open("rb") as file:
        file.seek(start)
        return hashlib.sha256(file.read(_CHUNK_BYTES)).hexdigest()
