"""A trained model from its run folder alone, without the text that it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from adaspan.config.extensions import import_extensions, import_installed
from adaspan.config.resolved import read_run, read_values
from adaspan.config.schema import RunConfig
from adaspan.data.prepare import find_vocabulary
from adaspan.data.vocabulary import Vocabulary
from adaspan.errors import RunError, UserError
from adaspan.nn.transformer import Transformer
from adaspan.runs.command import typed
from adaspan.runs.folder import RunFolder, open_folder
from adaspan.train.build import make_model
from adaspan.train.checkpoint import Checkpoints


def load(
    folder: str | Path,
    device: str | torch.device = "cpu",
    *,
    weights: Literal["best", "last"] = "best",
) -> tuple[Transformer, Vocabulary, RunConfig]:
    """The model of a run, in evaluation mode, with the vocabulary that it reads and writes.

    Nothing in the folder is run: weights are read as plain tensors. Extensions that the run names
    are imported by their names.

    Args:
        folder: of the run, which may still be training.
        device: where the model is to be.
        weights: those with the best quick evaluation, or those of the last checkpoint.

    Returns:
        The model, its vocabulary, and the run's configuration.

    Raises:
        UserError: there is no run in this folder, or it is one of an older version whose vocabulary
            cannot be found, or an extension cannot be imported.
        RunError: the weights are missing or damaged, or do not fit the configuration.
        ValueError: `weights` is neither "best" nor "last".
    """
    if weights not in ("best", "last"):
        raise ValueError(f"weights={weights}: must be best or last")
    run_folder = open_folder(folder)
    import_installed()
    import_extensions(read_values(run_folder.path).get("extensions", []))
    config = read_run(run_folder.path)
    vocabulary = _vocabulary(run_folder, config)
    checkpoints = Checkpoints(run_folder.checkpoints)
    if weights == "best" and not checkpoints.best.exists():
        raise RunError(
            f"{checkpoints.best}: is missing, as before a run's first evaluation; "
            'weights="last" takes those of the last checkpoint'
        )
    state = checkpoints.load_best() if weights == "best" else checkpoints.look_at_newest()
    model = make_model(config.model, config.span, len(vocabulary), config.train.attention)
    try:
        model.load_state_dict(state["model"])
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunError(
            f"{run_folder.path}: the weights do not fit config.yaml and vocabulary.json ({reason})"
        ) from None
    return model.to(device).eval(), vocabulary, config


def _vocabulary(folder: RunFolder, config: RunConfig) -> Vocabulary:
    """Written beside the weights, or that of the prepared text, for runs of older versions."""
    if folder.vocabulary.exists():
        return Vocabulary.read(folder.vocabulary)
    data_dir = Path(config.data_dir)
    characters = config.data.build(data_dir).characters
    found = find_vocabulary(data_dir, folder.source.data_fingerprint() or "", characters)
    if found is None:
        raise UserError(
            f"{folder.path}: has no vocabulary.json, as runs of an older version, and its text is "
            "not prepared here; its command writes one, even if the run is done: "
            + typed(folder.path)
        )
    return found
