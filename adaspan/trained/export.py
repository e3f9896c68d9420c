"""A model to take elsewhere: <folder>/model.safetensors config.yaml vocabulary.json."""

from __future__ import annotations

from pathlib import Path

from adaspan.config.checks import require_writable
from adaspan.config.kinds.code import place_of
from adaspan.config.kinds.registry import KINDS, extension_of
from adaspan.config.resolved import to_yaml
from adaspan.errors import UserError
from adaspan.runs.folder import RunFolder
from adaspan.train.load import load_with_weights
from adaspan.train.weights import Choice, export_weights


def export(run: Path, folder: Path, weights: Choice) -> list[Path]:
    """Write the model of a run into a new folder, which `load` and every command for a trained
    model read.

    Args:
        run: folder of the run.
        folder: new or empty.
        weights: see `load`.

    Returns:
        The modules of extensions that the model needs: no folder of a model holds code.

    Raises:
        UserError: there is something in the folder, or it cannot be made, or no run in `run`.
        RunError: the run's weights are missing or damaged.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already; choose a new folder")
    require_writable("FOLDER", folder)
    _, vocabulary, config, read = load_with_weights(run, "cpu", weights)
    exported = RunFolder(folder)
    exported.write_config(to_yaml(config))
    vocabulary.write(exported.vocabulary)
    export_weights(folder, read)
    kinds = (("span", config.span.kind), ("attention", config.train.attention))
    modules = [extension_of(group, kind) for group, kind in kinds if kind in KINDS[group]]
    return [place_of(module) for module in dict.fromkeys(modules) if module]
