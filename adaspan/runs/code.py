"""Which code trains a run."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from adaspan.files import read_json
from adaspan.places import IS_INSTALLED

# In a copy of the code: what `code_version` returned for the original.
SOURCE_OF_SNAPSHOT = "source.json"


def code_version(root: Path) -> dict[str, Any]:
    """Commit and uncommitted changes of the code below `root`; the version of an installed one."""
    snapshot = root / SOURCE_OF_SNAPSHOT
    if snapshot.exists():
        version: dict[str, Any] = read_json(snapshot)
        return version
    if IS_INSTALLED:  # whatever repository it may lie in is not its own
        return {"commit": None, "diff": None, "version": metadata.version("adaspan")}
    return {"commit": _git(root, "rev-parse", "HEAD"), "diff": _git(root, "diff", "HEAD")}


def _git(root: Path, *arguments: str) -> str | None:
    """What git answers; None outside a repository."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.decode(errors="replace").strip()
