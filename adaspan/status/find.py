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


def find_sweep(output_dir: Path, name: str) -> tuple[str, Runs]:
    """The one sweep of this name, less its hash, or whose name begins like that; a path to its
    folder will do, too.

    Raises:
        UserError: there is none, or there are several.
    """
    known = sweeps(output_dir)
    matching = _sweeps_named(output_dir, name)
    if name and not matching and (runs := _runs_named(output_dir, name)):
        raise UserError(_is_a_run(output_dir, name, runs))
    if name and not matching:
        raise _none_called(name, "sweep", "begins with this", output_dir / "sweeps", [*known])
    sweep = _only(f"{output_dir}/sweeps", name, matching)
    return sweep, known[sweep]


def find_run(output_dir: Path, name: str) -> Path:
    """The one run whose folder's name holds this; a path to the folder will do, too.

    Raises:
        UserError: there is none, or there are several.
    """
    if run := _run_at(output_dir, name):
        return run
    matching = _runs_named(output_dir, name)
    if name and not matching and _sweeps_named(output_dir, name):
        raise UserError(f"{name}: is a sweep, not a run; adaspan status {name} lists its runs")
    if name and not matching:
        names = [path.name for path in _folders(output_dir)]
        raise _none_called(name, "run", "has this in its name", output_dir, names)
    return output_dir / _only(str(output_dir), name, matching)


def typed_words_of(output_dir: Path, sweep: str) -> list[str]:
    """The words that ask for all runs of a sweep; none if there are none such."""
    manifest = json.loads((output_dir / "sweeps" / sweep / "manifest.json").read_text())
    return [str(word) for word in manifest.get("typed", [])]


def find_runs(output_dir: Path, names: Sequence[str]) -> Runs:
    """All runs of the sweeps and the single runs that are named; without a name, every run.

    Raises:
        UserError: a name that matches none or several.
    """
    if not names:
        return {path: {} for path in _folders(output_dir)}
    runs: Runs = {}
    for name in names:
        if name and _sweeps_named(output_dir, name):
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


def _runs_named(output_dir: Path, name: str) -> list[str]:
    if run := _run_at(output_dir, name):
        return [run.name]
    return [path.name for path in _folders(output_dir) if name in path.name]


def _run_at(output_dir: Path, name: str) -> Path | None:
    """The run whose folder a path leads to."""
    path = Path(name)
    if not name or not (path / "config.yaml").exists():
        return None
    listed = output_dir / path.resolve().name  # one spelling, whichever way it is given
    return listed if listed.exists() and listed.samefile(path) else path


def _sweeps_named(output_dir: Path, name: str) -> list[str]:
    path = Path(name)
    if name and (path / "manifest.json").exists():  # as the shell completes it
        others = path.resolve().parents[1]
        if others != output_dir.resolve():
            raise UserError(f"{name}: is not in {output_dir}; add --runs {others}")
        return [path.resolve().name]
    known = sweeps(output_dir)
    named = [sweep for sweep in known if sweep.rpartition("-")[0] == name]
    return named or [sweep for sweep in known if sweep.startswith(name)]


def _is_a_run(output_dir: Path, name: str, runs: Sequence[str]) -> str:
    """One line for a name that should be a sweep's."""
    if len(runs) > 1:
        return f"{name}: matches no sweep, but runs: {_some(runs)}; leave it out for all runs"
    own = [f"its sweep is {sweep}" for sweep in sweeps_of(output_dir, output_dir / runs[0])]
    way_out = "; ".join([f"adaspan explain {name} shows it", *own[-1:]])
    return f"{name}: is a run, not a sweep; {way_out}"


def _none_called(name: str, what: str, how: str, folder: Path, known: Sequence[str]) -> UserError:
    there = f"{how}; the last: {_some(known[::-1])}" if known else "is there yet"
    return UserError(f"{name}: no {what} in {folder}/ {there}; --runs names another folder")


def _only(where: str, name: str, matching: Sequence[str]) -> str:
    if not name:
        raise UserError("'': is an empty name; is a shell variable empty?")
    if len(matching) == 1:
        return matching[0]
    if name in matching:
        return name
    raise UserError(
        f"{name}: matches {len(matching)} in {where}: {_some(matching)}; type more of the name"
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
