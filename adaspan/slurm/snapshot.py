"""The code as it is now, uncommitted changes included, for jobs that start later."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from adaspan.files import write_json
from adaspan.places import CODE, EXTENDING, FROZEN_EXTENSIONS, IS_INSTALLED
from adaspan.runs.code import SOURCE_OF_SNAPSHOT, code_version

# An installed package has all of it inside.
_PARTS = (
    ("adaspan",)
    if IS_INSTALLED
    else ("launch.py", "adaspan", "conf", "sweeps", str(EXTENDING.relative_to(CODE)))
)
_LEFT_OUT = ("__pycache__",)


def take(root: Path, store: Path, extensions: Sequence[Path] = ()) -> Path:
    """Copy what trains a run to `store/<hash of the contents>`; the same code once.

    With the page that error lines point to.

    Args:
        root: the folder that the package is in.
        store: on a disk that the nodes see.
        extensions: files and folders of modules that the code imports besides.

    Returns:
        The snapshot's folder; its code starts as the original does.
    """
    parts = {Path(part): root / part for part in _PARTS}
    parts |= {Path(FROZEN_EXTENSIONS.name, part.name): part for part in extensions}
    files = sorted(
        (Path(name, file.relative_to(part)), file)
        for name, part in parts.items()
        for file in _files(part)
    )
    store.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=store, prefix=".partial-"))
    try:
        digest = hashlib.sha256()  # of what was copied, whatever is edited meanwhile
        for name, file in files:
            copy = partial / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
            digest.update(f"{name}\0{copy.stat().st_size}\0".encode())
            digest.update(copy.read_bytes())
        snapshot = store.resolve() / digest.hexdigest()[:12]
        if snapshot.exists():
            return snapshot
        write_json(partial / SOURCE_OF_SNAPSHOT, code_version(root))
        partial.chmod(0o755)
        try:
            partial.rename(snapshot)
        except OSError:  # somebody else was faster, with the same contents
            if not snapshot.exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return snapshot


def _files(path: Path) -> list[Path]:
    """The files of one part; links to folders count as the folders, to nothing as nothing."""
    if not path.is_dir():
        return [path] if path.exists() else []
    return [
        file for child in path.iterdir() if child.name not in _LEFT_OUT for file in _files(child)
    ]
