"""A trained model from its run folder alone, without the text that it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from adaspan.config.extensions import import_extensions, import_installed
from adaspan.config.resolved import read_config, read_values
from adaspan.config.schema import RunConfig
from adaspan.data.prepare import find_vocabulary
from adaspan.data.vocabulary import Vocabulary
from adaspan.errors import RunError, UserError
from adaspan.nn.transformer import Transformer
from adaspan.runs.command import typed
from adaspan.runs.folder import RunFolder, open_folder
from adaspan.train.build import make_model
from adaspan.train.checkpoint import Checkpoints, State


def load(
    folder: str | Path,
    device: str | torch.device = "cpu",
    *,
    weights: Literal["best", "last"] = "best",
) -> tuple[Transformer, Vocabulary, RunConfig]:
    """The model of a run, in evaluation mode, with the vocabulary that it reads and writes.

        model, vocabulary, config = load("runs/stdlib-4x128-adaptive1024-3f0c9a12de")
        output = model(torch.tensor([vocabulary.encode("import os")]))
        output.log_probs_BMV[0, -1].exp()    # of each token id to come next

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
        RunError: the configuration, vocabulary or weights are missing or damaged, or do not fit.
        ValueError: `folder` is no path, `weights` neither "best" nor "last", or there is no such
            device.
    """
    if weights not in ("best", "last"):
        raise ValueError(f"weights={weights}: must be best or last")
    _check_device(device)
    run_folder = open_folder(folder)
    import_installed()
    import_extensions(read_values(run_folder.path).get("extensions", []))
    config = read_config(run_folder.path)
    vocabulary = _vocabulary(run_folder, config)
    state = _state(Checkpoints(run_folder.checkpoints), weights)
    model = make_model(config.model, config.span, len(vocabulary), config.train.attention)
    try:
        model.load_state_dict(state["model"])
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunError(
            f"{run_folder.path}: the weights do not fit config.yaml and vocabulary.json ({reason})"
        ) from None
    return model.to(device).eval(), vocabulary, config


def _check_device(device: str | torch.device) -> None:
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"device={device}: {str(error).splitlines()[0]}") from None


def _state(checkpoints: Checkpoints, weights: str) -> State:
    if weights == "best" and checkpoints.best.exists():
        return checkpoints.load_best()
    state = checkpoints.look_at_newest()
    if weights == "best":
        raise RunError(
            f"{checkpoints.best}: no best weights yet: the run has not been evaluated; "
            'weights="last" loads the last checkpoint'
        )
    return state


def _vocabulary(folder: RunFolder, config: RunConfig) -> Vocabulary:
    """Written beside the weights, or that of the prepared text, for runs of older versions."""
    if folder.vocabulary.exists():
        return Vocabulary.read(folder.vocabulary)
    data_dir = Path(config.data_dir)
    characters = config.data.build(data_dir).characters
    vocabulary = find_vocabulary(data_dir, folder.source.data_fingerprint() or "", characters)
    if vocabulary is None:
        raise UserError(
            f"{folder.path}: no vocabulary.json (trained by an older version), and its text is not "
            f"prepared here; this command writes it: {typed(folder.path)}"
        )
    return vocabulary
