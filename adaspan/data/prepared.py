"""A prepared text on the disk: three raw arrays of token ids and a small JSON, with digests.

train.bin valid.bin test.bin meta.json
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adaspan.data.digest import chunk_digests
from adaspan.files import sync_folder, write_json

SPLITS = ("train", "valid", "test")
META = "meta.json"
_SHA256 = "sha256"  # of the rest of meta.json
_DIGESTS = "digests"

Tokens = npt.NDArray[np.unsignedinteger]


class DamageError(Exception):
    """A prepared text is not what was written."""


def write_splits(folder: Path, sizes: Mapping[str, int], tokens: Iterable[Tokens]) -> None:
    """Write one stream of tokens as the arrays of all splits, and see that they are on the disk.

    Args:
        folder: of the arrays.
        sizes: tokens of each split, which follow each other in the stream. What the stream has
            beyond them is left out.
        tokens: of the stream, piece by piece.
    """
    pieces = iter(tokens)
    piece: Tokens = np.empty(0, np.uint8)
    for split, missing in sizes.items():
        with (folder / f"{split}.bin").open("wb") as file:
            while missing:
                piece = piece if len(piece) else next(pieces, piece)
                if not len(piece):
                    break
                piece[:missing].tofile(file)
                missing, piece = missing - len(piece[:missing]), piece[missing:]
            file.flush()
            os.fsync(file.fileno())
    for _ in pieces:  # to its end, which its reader checks
        pass


def seal(folder: Path, meta: Mapping[str, Any]) -> None:
    """Add meta.json, with the digests of all, and see that the folder is on the disk."""
    digests = {split: chunk_digests(folder / f"{split}.bin") for split in SPLITS}
    sealed = {**meta, _DIGESTS: digests}
    write_json(folder / META, {**sealed, _SHA256: _digest(sealed)})
    sync_folder(folder)


def open_prepared(folder: Path) -> tuple[dict[str, Any], dict[str, Tokens]] | None:
    """Its meta.json, and its arrays, memory-mapped: what is not read costs no memory.

    Returns:
        None if it was made by an older version, without digests, or is not there.

    Raises:
        DamageError: it is not as it was written; says what is not.
    """
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text())
        if _DIGESTS not in meta:
            return None
        written = meta.pop(_SHA256)
        if written != _digest(meta):
            raise DamageError(f"{META} has changed")
        for split in SPLITS:
            if chunk_digests(folder / f"{split}.bin") != meta[_DIGESTS][split]:
                raise DamageError(f"{split}.bin has changed")
        return meta, {split: _mapped(folder / f"{split}.bin", meta, split) for split in SPLITS}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if not folder.exists():
            return None
        raise DamageError(str(error)) from None


def _mapped(path: Path, meta: Mapping[str, Any], split: str) -> Tokens:
    length, dtype = meta["tokens"][split], meta["dtype"]
    if not length:  # cannot be mapped
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r", shape=(length,))


def _digest(meta: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()
