"""Find the runs that a person means, by sweep or by run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from adaspan.errors import UserError

Runs = dict[Path, dict[str, str]]  # folder: the values in which it differs from others


def sweeps(output_dir: Path) -> dict[str, Runs]:
    """Every sweep of a folder of runs, the newest last."""
    manifests = sorted(
        (output_dir / "sweeps").glob("*/manifest.json"), key=lambda path: path.stat().st_mtime
    )
    return {
        path.parent.name: {
            output_dir / name: varies
            for name, varies in json.loads(path.read_text())["runs"].items()
        }
        for path in manifests
    }


def find_sweep(output_dir: Path, wanted: str) -> tuple[str, Runs]:
    """The one sweep of this name, less its hash, or whose name begins like that.

    Raises:
        UserError: there is none, or there are several.
    """
    known = sweeps(output_dir)
    named = [name for name in known if name.rpartition("-")[0] == wanted]
    fitting = named or [name for name in known if name.startswith(wanted)]
    name = _only(f"{output_dir}/sweeps", wanted, fitting, [*known])
    return name, known[name]


def find_run(output_dir: Path, wanted: str) -> Path:
    """The one run whose folder's name holds `wanted`; a path to the folder will do, too.

    Raises:
        UserError: there is none, or there are several.
    """
    given = Path(wanted)
    if wanted and (given / "config.yaml").exists():
        listed = output_dir / given.resolve().name  # one spelling, whichever way it is given
        return listed if listed.exists() and listed.samefile(given) else given
    names = [path.name for path in _folders(output_dir)]
    return output_dir / _only(str(output_dir), wanted, [n for n in names if wanted in n], names)


def find_runs(output_dir: Path, wanted: Sequence[str]) -> Runs:
    """All runs of the sweeps and the single runs that are named; without a name, every run.

    Raises:
        UserError: a name that matches none or several.
    """
    if not wanted:
        return {path: {} for path in _folders(output_dir)}
    runs: Runs = {}
    for name in wanted:
        if name and any(sweep.startswith(name) for sweep in sweeps(output_dir)):
            runs |= find_sweep(output_dir, name)[1]
        else:
            runs[find_run(output_dir, name)] = {}
    return runs


def sweeps_of(output_dir: Path, run: Path) -> dict[str, Runs]:
    """The sweeps that a run is part of, the newest last."""
    return {
        name: runs
        for name, runs in sweeps(output_dir).items()
        if run.name in {path.name for path in runs}
    }


def _folders(output_dir: Path) -> list[Path]:
    return sorted(path.parent for path in output_dir.glob("*/config.yaml"))


def _only(where: str, wanted: str, matching: Sequence[str], all_of_them: Sequence[str]) -> str:
    if not wanted:
        raise UserError("'': is an empty name; is a shell variable empty?")
    if len(matching) == 1:
        return matching[0]
    if wanted in matching:
        return wanted
    if matching:
        more = f" and {len(matching) - 5} more" if len(matching) > 5 else ""
        raise UserError(
            f"{wanted}: matches {len(matching)} in {where}: {', '.join(matching[:5])}{more}; "
            "type more of the name"
        )
    known = ", ".join(list(all_of_them)[-5:]) or "nothing yet"
    raise UserError(f"{wanted}: not in {where}, which has {known}; --runs names another folder")
