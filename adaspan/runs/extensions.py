"""What a run's record and a job's frozen code hold of the extensions that were imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adaspan.config.extensions import IMPORTED
from adaspan.config.kinds.code import code_sha256, is_installed, place_of
from adaspan.places import CODE, PACKAGE


def extension_records() -> dict[str, dict[str, str | None]]:
    """Where each comes from, the SHA-256 of its code, and its version if it is installed."""
    return {
        name: {"file": str(place_of(name)), "sha256": code_sha256(name), "version": version}
        for name, version in IMPORTED.items()
    }


def recorded_places(starts: Sequence[Mapping[str, Any]]) -> dict[str, Path]:
    """Where a run had its extensions when it was last started, but for installed ones.

    Args:
        starts: an entry for each of its starts.
    """
    records = (starts or [{}])[-1].get("extensions", {})
    return {name: Path(record["file"]) for name, record in records.items() if not record["version"]}


def extension_files() -> list[Path]:
    """What the extensions need beside installed packages: their own file or package, the modules
    beside it that can be imported, and the packages there that were.
    """
    folders = {place_of(name).parent for name in IMPORTED if not is_installed(place_of(name))}
    packages = {place_of(name) for name in sys.modules if "." not in name}
    files = {file for folder in folders for file in folder.glob("*.py")}
    needed = {file for file in files if file.stem.isidentifier() and _is_found(file)}
    needed |= {package for package in packages if package.parent in folders and package.is_dir()}
    return sorted(needed - {PACKAGE, CODE / "launch.py"})


def _is_found(file: Path) -> bool:
    """Whether it is this very file that its name would import."""
    spec = find_spec(file.stem)
    return spec is not None and spec.origin == str(file)
