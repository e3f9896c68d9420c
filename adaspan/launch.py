"""Train: what `adaspan train`, `python -m adaspan` and `python launch.py` do.

Hydra composes `conf/`, adaspan does the rest. `--help` shows the groups and the keys that matter.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig

from adaspan import __version__, ranks, stdout
from adaspan.config.command_line import (
    named_extensions,
    named_folder,
    note_typed,
    option_folders,
)
from adaspan.config.extensions import import_extensions, import_installed
from adaspan.config.flags import checked
from adaspan.config.hydra import (
    folder_of_configuration,
    names_text,
    register,
    require_multirun,
    to_run_config,
)
from adaspan.config.mistakes import user_errors
from adaspan.config.schema import RunConfig
from adaspan.config.typed import for_hydra
from adaspan.errors import UserError, reported_in_one_line
from adaspan.places import CODE, CONF
from adaspan.runs.code.fingerprint import (
    LAUNCH_FILE,
    code_of_run,
    note_code,
    require_as_imported,
)
from adaspan.runs.extensions import recorded_places
from adaspan.runs.figures.own import check_own_keys
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import folder_of


def main() -> None:
    """Train the run that the command line describes, or the runs of a sweep."""
    note_code()  # before more of it is imported
    with stdout.never_closed(), user_errors():
        _require_edited_launch_py()
        note_typed(sys.argv[1:])
        sys.argv[1:] = checked(sys.argv[1:])
        if "--version" in sys.argv:  # Hydra would tell its own
            print(f"adaspan, version {__version__}")
            return
        _require_a_whole_launcher()
        import_installed()
        import_extensions(named_extensions(sys.argv[1:]), _places_before(sys.argv[1:]))
        check_own_keys()
        sys.argv[1:] = for_hydra(sys.argv[1:])
        register(option_folders(sys.argv[1:]))
        _launch()


def _places_before(words: Sequence[str]) -> dict[str, Path]:
    """Where the run whose configuration a command line names had its extensions."""
    folder = named_folder(words)
    return recorded_places(RunFolder(folder).source.starts()) if folder else {}


def _require_edited_launch_py() -> None:
    """Refuse to leave out what somebody has added to launch.py, which other programs do not run."""
    program = getattr(sys.modules["__main__"], "__file__", None) or ""
    if LAUNCH_FILE in code_of_run([]) and Path(program).resolve() != CODE / LAUNCH_FILE:
        raise UserError("launch.py: has been edited, and only python launch.py runs it; type that")


def _require_a_whole_launcher() -> None:
    """Raise `UserError` if variables of torchrun were left over: which processes are meant?"""
    if word := ranks.leftover():
        raise UserError(
            f"{word}: in the environment, but not as torchrun sets RANK, WORLD_SIZE, MASTER_ADDR "
            f"and MASTER_PORT together; for one process: unset {word.split('=')[0]}"
        )


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
@reported_in_one_line(of_a_run=True)
def _launch(composed: DictConfig) -> None:
    require_multirun()
    config = to_run_config(composed)
    code_of_run(config.extensions)  # noted before what takes long: torch
    from adaspan.train.run import train  # imports torch: not needed for --help or to find a mistake

    require_as_imported(config.extensions)

    begun = folder_of_configuration()
    if begun is None:
        train(config)
    else:
        _require_trainable(begun)
        begun_on = None if names_text() else _text_of(begun, config)
        train(config, folder_of(config, begun), begun_on)


def _require_trainable(begun: Path) -> None:
    """Refuse a run that was imported: it would begin anew, with settings that nobody has chosen."""
    if file := RunFolder(begun).source.imported():
        raise UserError(
            f"{begun}: was imported from {file}, which tells neither dropout, optimizer and batch "
            "nor the place in the text, so that no training can go on; for a run like it, from "
            "the start, name the keys that adaspan explain shows"
        )


def _text_of(begun: Path, config: RunConfig) -> str | None:
    """SHA-256 of the text of a run; None if its kind of data says all of it."""
    return None if config.data.content() is None else RunFolder(begun).source.data_fingerprint()


if __name__ == "__main__":
    main()
