"""The weights of a model: from the checkpoints of its run, from one file, or from an export.

<export>/model.safetensors   plain tensors, beside config.yaml and vocabulary.json
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from adaspan.errors import RunError
from adaspan.files import replacing
from adaspan.runs.folder import RunFolder
from adaspan.train.checkpoint import Checkpoints, State, read_checkpoint

# Which weights of a run: a name, or the path of a checkpoint.
Choice = Literal["best", "last"] | Path
# What a state raises that is not of the model that it is to be given to.
UNFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
_LONGEST_REASON = 200


@dataclass(frozen=True)
class Weights:
    """Weights, and what is known of them.

    Args:
        tensors: by their names in the model.
        step: after how many updates.
        data_sha256: of the text that they have learned from; None if it stands elsewhere.
    """

    tensors: Mapping[str, Tensor]
    step: int
    data_sha256: str | None


def read_weights(folder: RunFolder, choice: Choice) -> Weights:
    """The weights of a run or of an export.

    Args:
        folder: of the run, or of the export, which has one set of weights whatever is chosen.
        choice: those with the best quick evaluation, those of the last checkpoint, or those of a
            file.

    Raises:
        RunError: they are missing or damaged.
    """
    if folder.exported.exists() and not isinstance(choice, Path):
        return _read_exported(folder.exported)
    state = _state(Checkpoints(folder.checkpoints), choice)
    model = state.get("model") if isinstance(state, dict) else None
    if not isinstance(model, dict) or not all(isinstance(t, Tensor) for t in model.values()):
        raise RunError(f"{choice}: holds no model; a run's checkpoints do")
    return Weights(model, state.get("step", 0), folder.source.data_fingerprint())


def mismatch(error: Exception) -> str:
    """What of a state does not fit, in one line, of torch's one for each tensor."""
    reason = " ".join(str(error).splitlines()[-1].split()) if str(error) else type(error).__name__
    if isinstance(error, KeyError):
        reason = f"no {reason}"
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor that holds a NaN or an infinite number; None if all are finite."""
    return next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)


def export_weights(folder: Path, weights: Weights) -> None:
    """Write the weights of an export, whole or not at all."""
    metadata = {"format": "pt", "step": str(weights.step), "data_sha256": weights.data_sha256 or ""}
    with replacing(RunFolder(folder).exported) as file:
        # A copy of each, for tensors may not share memory there.
        file.write(save({name: t.clone() for name, t in weights.tensors.items()}, metadata))


def _read_exported(path: Path) -> Weights:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        return Weights(tensors, int(metadata["step"]), metadata["data_sha256"] or None)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"{path}: damaged ({error})") from None


def _state(checkpoints: Checkpoints, choice: Choice) -> State:
    if isinstance(choice, Path):
        if choice.suffix == ".safetensors":
            raise RunError(f"{choice}: of an export; name its folder as the run")
        return read_checkpoint(choice)
    if choice == "best" and checkpoints.best.exists():
        return checkpoints.load_best()
    state = checkpoints.look_at_newest()
    if choice == "best":
        raise RunError(
            f"{checkpoints.best}: no best weights yet: the run has not been evaluated; "
            'weights="last", or --weights last, loads the last checkpoint'
        )
    return state
