"""Where things are that a configuration names, if its run folder was moved, renamed or sent
elsewhere since: it is that run, and goes on where it is now.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from adaspan.places import CONF

# Keys of data that name a file.
_FILES = ("path", "train", "valid", "test", "archive")


def is_run_folder(path: Path) -> bool:
    """Whether it holds a run, and not only a configuration."""
    return (path / "config.yaml").exists() and (path / "source.json").exists()


def was_moved(path: Path, values: Mapping[str, Any]) -> bool:
    """Whether a run folder is not where its configuration says.

    Args:
        path: of the folder.
        values: of its configuration, nested.
    """
    return name_in(Path(values["output_dir"]), path) is None


def name_in(folder: Path, path: Path) -> str | None:
    """What a run folder is called in another one; None if it is not there.

    Args:
        folder: which may have it.
        path: of the run folder, or of a link to it.
    """
    names = (path.name, path.resolve().name)
    there = (name for name in names if (folder / name).exists())
    return next((name for name in there if (folder / name).samefile(path)), None)


def places_now(path: Path, values: Mapping[str, Any]) -> dict[str, str]:
    """`output_dir` and `data_dir` where those of a run folder's configuration hold no more.

    Args:
        path: of the folder.
        values: of its configuration, nested.
    """
    if not is_run_folder(path) or not was_moved(path, values):
        return {}
    folder = path.resolve() if path.is_symlink() else path.absolute()
    now = {"output_dir": str(folder.parent)}
    if not Path(values["data_dir"]).is_dir():  # of another machine
        now["data_dir"] = _default_data_dir()
    return now


def missing_files(values: Mapping[str, Any], typed: Sequence[str]) -> Iterator[str]:
    """The files that the text of a configuration was read from, and that are not here.

    Args:
        values: of the configuration, nested.
        typed: the keys for which something else was typed.
    """
    if any(key == "data" or key.startswith("data.") for key in typed):
        return
    data = values.get("data", {})
    for key in _FILES:
        if data.get(key) and not Path(data[key]).expanduser().exists():
            yield f"data.{key}={data[key]}: is not here; say where it is: data.{key}=FILE"


def read_only(path: Path, typed: Sequence[str]) -> Iterator[str]:
    """That a run folder is where nothing may be written, unless another `output_dir` was typed."""
    if "output_dir" not in typed and not os.access(path.resolve().parent, os.W_OK):
        yield (
            f"{path}: is where nothing may be written; copy the folder and go on with the copy, or "
            "output_dir=DIR trains the run anew"
        )


def _default_data_dir() -> str:
    """Where a new run has its data."""
    default: str = OmegaConf.load(CONF / "config.yaml").data_dir
    return str(Path(default).expanduser())
