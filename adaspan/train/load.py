"""A trained model from its run folder alone, without the text that it was trained on."""

from __future__ import annotations

from pathlib import Path

import torch

from adaspan.config.extensions import import_extensions_of_model, import_installed
from adaspan.config.resolved import read_config, read_values
from adaspan.config.schema import RunConfig
from adaspan.data.prepare import find_vocabulary
from adaspan.data.vocabulary import Vocabulary
from adaspan.errors import RunError, UserError
from adaspan.nn.attention import BUILT_IN, why_unfit
from adaspan.nn.transformer import Transformer
from adaspan.runs.code.fingerprint import in_words
from adaspan.runs.command import typed
from adaspan.runs.extensions import recorded_places
from adaspan.runs.folder import RunFolder, open_folder
from adaspan.runs.other_code import files_other_here
from adaspan.train.build import make_model
from adaspan.train.weights import UNFIT, Choice, Weights, first_not_finite, mismatch, read_weights


def load(
    folder: str | Path,
    device: str | torch.device = "cpu",
    *,
    weights: Choice | str = "best",
) -> tuple[Transformer, Vocabulary, RunConfig]:
    """The model of a run or an export, in evaluation mode, and the vocabulary that it reads.

        model, vocabulary, config = load("runs/stdlib-4x128-adaptive1024-3f0c9a12de")
        output = model(torch.tensor([vocabulary.encode("import os")]))
        output.log_probs_BMV[0, -1].exp()    # of each token id to come next

    Nothing in the folder is run: weights are read as plain tensors. Extensions that the model needs
    are imported by their names: from the current folder, from PYTHONPATH, or installed.

    Args:
        folder: of the run, which may still be training, or of an export.
        device: where the model is to be.
        weights: `best`: with the best quick evaluation; `last`: of the last checkpoint; or the path
            of one. An export has one set.

    Returns:
        The model, its vocabulary, and the run's configuration.

    Raises:
        UserError: there is no run in this folder, or it is one of an older version whose vocabulary
            cannot be found, or an extension cannot be imported.
        RunError: the configuration, vocabulary or weights are missing or damaged, or do not fit.
        ValueError: `folder` is no path, `weights` neither "best" nor "last" nor the path of a file,
            or there is no such device.
    """
    model, vocabulary, config, _ = load_with_weights(folder, device, weights)
    return model, vocabulary, config


def load_with_weights(
    folder: str | Path, device: str | torch.device, weights: Choice | str
) -> tuple[Transformer, Vocabulary, RunConfig, Weights]:
    """What `load` gives, and what is known of the weights. Raises as it does."""
    choice = _choice(weights)
    _check_device(device)
    run_folder = open_folder(folder)
    import_installed()
    places = recorded_places(run_folder.source.starts())
    import_extensions_of_model(read_values(run_folder.path), places)
    config = read_config(run_folder.path)
    vocabulary = _vocabulary(run_folder, config)
    read = read_weights(run_folder, choice)
    attention, head_dim = config.train.attention, config.model.dim // config.model.heads
    if attention in BUILT_IN and why_unfit(attention, torch.device(device), head_dim):
        attention = "auto"
    model = make_model(config.model, config.span, len(vocabulary), attention)
    try:
        model.load_state_dict(read.tensors)
    except UNFIT as error:
        raise RunError(
            f"{run_folder.path}: the weights do not fit config.yaml and vocabulary.json "
            f"({mismatch(error)}){_other_code(run_folder)}"
        ) from None
    if broken := first_not_finite(read.tensors):
        raise RunError(f"{run_folder.path}: the weights are not finite ({broken})")
    return model.to(device).eval(), vocabulary, config, read


def _choice(weights: Choice | str) -> Choice:
    if isinstance(weights, Path):
        return weights
    if weights in ("best", "last"):
        return "best" if weights == "best" else "last"
    if not Path(weights).is_file():
        raise ValueError(f"weights={weights}: must be best or last, or the path of a checkpoint")
    return Path(weights)


def _other_code(folder: RunFolder) -> str:
    """That other code has trained the run, which may be why its weights do not fit."""
    changed = files_other_here(folder)
    return f"; it was trained by other code: {in_words(changed)}" if changed else ""


def _check_device(device: str | torch.device) -> None:
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"device={device}: {str(error).splitlines()[0]}") from None


def _vocabulary(folder: RunFolder, config: RunConfig) -> Vocabulary:
    """Written beside the weights, or that of the prepared text, for runs of older versions."""
    if folder.vocabulary.exists():
        return Vocabulary.read(folder.vocabulary)
    data_dir = Path(config.data_dir)
    characters = config.data.build(data_dir).characters
    vocabulary = find_vocabulary(data_dir, folder.source.data_fingerprint() or "", characters)
    if vocabulary is None and folder.exported.exists():
        raise UserError(f"{folder.path}: no vocabulary.json; export the run again")
    if vocabulary is None:
        raise UserError(
            f"{folder.path}: no vocabulary.json (trained by an older version), and its text is not "
            f"prepared here; this command writes it: {typed(folder.path)}"
        )
    return vocabulary
