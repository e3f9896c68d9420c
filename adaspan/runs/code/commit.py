"""The commit of the code, and what differs from it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from adaspan.files import read_json
from adaspan.places import IS_INSTALLED

# In a copy of the code: what `code_version` returned for the original.
SOURCE_OF_SNAPSHOT = "source.json"
_CODE = ("*.py", "*.yaml")


def code_version(root: Path) -> dict[str, Any]:
    """Commit and uncommitted changes of the code below `root`; the version of an installed one."""
    snapshot = root / SOURCE_OF_SNAPSHOT
    if snapshot.exists():
        version: dict[str, Any] = read_json(snapshot)
        return version
    if IS_INSTALLED:  # whatever repository it may lie in is not its own
        return {"commit": None, "diff": None, "version": metadata.version("adaspan")}
    diff = _git(root, "diff", "HEAD")
    if diff is not None:
        diff = "\n".join(filter(None, [diff, *_untracked(root)]))
    return {"commit": _git(root, "rev-parse", "HEAD"), "diff": diff}


def _untracked(root: Path) -> Iterator[str]:
    """Code and configurations that no commit has, as `git apply` would make them."""
    listed = _git(root, "ls-files", "-z", "--others", "--exclude-standard", *_CODE) or ""
    for name in filter(None, listed.split("\0")):
        with suppress(OSError):  # gone since, or somebody else's
            lines = (root / name).read_text(errors="replace").splitlines()
            added = "\n".join(f"+{line}" for line in lines)
            yield (
                f"diff --git a/{name} b/{name}\nnew file mode 100644\n"
                f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n{added}"
            )


def _git(root: Path, *arguments: str) -> str | None:
    """What git answers; None outside a repository."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.decode(errors="replace").strip()
