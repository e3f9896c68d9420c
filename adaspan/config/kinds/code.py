"""Where the code of an extension is, and the hash by which data that it made are known."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from pathlib import Path


def place_of(module: str) -> Path:
    """The file of an imported module, or the folder of the package that it is in."""
    top = sys.modules[module.partition(".")[0]]
    if folders := list(getattr(top, "__path__", [])):
        return Path(folders[0])
    return Path(getattr(top, "__file__", None) or "built-in")


def is_installed(place: Path) -> bool:
    """Whether it is among the installed packages, or Python's own."""
    paths = sysconfig.get_paths()
    return any(place.is_relative_to(paths[key]) for key in ("purelib", "platlib", "stdlib"))


def code_sha256(module: str) -> str:
    """SHA-256 of a module's file, or of all of its package; what it imports is not in it."""
    place = place_of(module)
    digest = hashlib.sha256()
    for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
        digest.update(file.read_bytes())
    return digest.hexdigest()
