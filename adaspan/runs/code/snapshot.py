"""The code as it is now, uncommitted changes included, for runs that start later: those of a sweep,
here or on a cluster.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from adaspan.files import write_json
from adaspan.places import CODE, EXTENDING, FROZEN_EXTENSIONS, IS_INSTALLED
from adaspan.runs.code.commit import SOURCE_OF_SNAPSHOT, code_version
from adaspan.runs.code.fingerprint import modules_beside

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
        store: where copies are kept; on a cluster, on a disk that the nodes see.
        extensions: files and folders of modules that the code imports besides.

    Returns:
        The snapshot's folder; its code starts as the original does.
    """
    parts = {Path(part): root / part for part in _PARTS}
    parts |= {Path(place.name): place for place in modules_beside(root)}
    parts |= {Path(FROZEN_EXTENSIONS.name, part.name): part for part in extensions}
    files = sorted(
        (Path(name, file.relative_to(part)), file)
        for name, part in parts.items()
        for file in _files(part)
    )
    store.mkdir(parents=True, exist_ok=True)
    if (known := store.resolve() / _digest(files)).exists():
        return known
    partial = Path(tempfile.mkdtemp(dir=store, prefix=".partial-"))
    try:
        copies = [(name, partial / name) for name, _ in files]
        for (_, file), (_, copy) in zip(files, copies, strict=True):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        snapshot = store.resolve() / _digest(copies)  # whatever is edited meanwhile
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


def _digest(files: Iterable[tuple[Path, Path]]) -> str:
    digest = hashlib.sha256()
    for name, file in files:
        digest.update(f"{name}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _files(path: Path) -> list[Path]:
    """The files of one part; links to folders count as the folders, to nothing as nothing."""
    if not path.is_dir():
        return [path] if path.exists() else []
    return [
        file for child in path.iterdir() if child.name not in _LEFT_OUT for file in _files(child)
    ]
