"""A checkpoint of the paper's public code becomes a run: github.com/facebookresearch/adaptive-span.

Its tensors have other names there, and some have another order:

| there | here |
|---|---|
| key_pe (1, K, S), the farthest distance first | position_SK, the nearest first |
| persistent_memory.key (H, K, P) | persistent.key_HPK |
| out_emb.cluster_proj, the last cluster first | output.others, the first cluster first |
"""

from __future__ import annotations

import hashlib
import itertools
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adaspan.config.hydra import composed_run
from adaspan.config.kinds.data import corpus_of
from adaspan.config.resolved import to_yaml
from adaspan.errors import UserError
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import run_name
from adaspan.train.build import make_model
from adaspan.train.checkpoint import Checkpoints
from adaspan.trained.public_data import PublicData

# Names there, and here; {} is the number of a layer, or of a cluster of words.
_NAMES = {
    "in_emb.weight": "embedding.weight",
    "out_emb.weight": "output.weight",
    "out_emb.bias": "output.bias",
    "in_emb.emb_layers.{}.weight": "embedding.words.{}.weight",
    "in_emb.emb_projs.{}": "embedding.projections.{}.weight",
    "out_emb.out_layers.{}.weight": "output.words.{}.weight",
    "out_emb.out_layers.{}.bias": "output.words.{}.bias",
    "out_emb.out_projs.{}": "output.projections.{}.weight",
    "out_emb.cluster_proj.weight": "output.others.weight",
    "out_emb.cluster_proj.bias": "output.others.bias",
    "key_pe": "position_SK",
    "layers.{}.attn.proj_query.weight": "layers.{}.attention.query.weight",
    "layers.{}.attn.proj_key.weight": "layers.{}.attention.key.weight",
    "layers.{}.attn.proj_val.weight": "layers.{}.attention.value.weight",
    "layers.{}.attn.proj_out.weight": "layers.{}.attention.output.weight",
    "layers.{}.attn.attn.adaptive_span._mask.current_val": "layers.{}.attention.span.fraction",
    "layers.{}.attn.attn.persistent_memory.key": "layers.{}.attention.persistent.key_HPK",
    "layers.{}.attn.attn.persistent_memory.val": "layers.{}.attention.persistent.value_HPK",
    "layers.{}.norm1.weight": "layers.{}.attention_norm.weight",
    "layers.{}.norm1.bias": "layers.{}.attention_norm.bias",
    "layers.{}.ff.fc1.weight": "layers.{}.feed_forward.inner.weight",
    "layers.{}.ff.fc1.bias": "layers.{}.feed_forward.inner.bias",
    "layers.{}.ff.fc2.weight": "layers.{}.feed_forward.outer.weight",
    "layers.{}.ff.fc2.bias": "layers.{}.feed_forward.outer.bias",
    "layers.{}.norm2.weight": "layers.{}.feed_forward_norm.weight",
    "layers.{}.norm2.bias": "layers.{}.feed_forward_norm.bias",
}
# No weights: a constant, and the spans once more under another name.
_NOT_NEEDED = re.compile(r".*(_mask\.mask_template|persistent_memory\.adaptive_span\..*)")
_NUMBER = re.compile(r"(?<=\.)\d+")
# What torch.nn.DataParallel puts before each name.
_WRAPPED = "module."


def import_checkpoint(file: Path, data: Path, output_dir: Path, ramp: int) -> Path:
    """Make a run folder of a checkpoint of the public code.

    Args:
        file: the checkpoint. Nothing in it is run.
        data: the folder that it was trained on; the text that its numbers stand for is written into
            the folder for data.
        output_dir: where the run folder comes.
        ramp: R, which the checkpoint does not tell.

    Returns:
        The run folder.

    Raises:
        UserError: the file is no such checkpoint, does not fit the data, or is imported already.
    """
    checkpoint = _read(file)
    text = PublicData(data, by_count=checkpoint.has_clusters)
    symbols, known = sum(map(len, checkpoint.words)), len(text.vocabulary)
    if symbols != known:
        raise UserError(
            f"--data {data}: has {known} symbols in train.txt, but the checkpoint has {symbols}; "
            "name the folder that it was trained on"
        )
    digest = _sha256(file)
    config = composed_run(checkpoint.overrides(ramp))
    decoded = Path(config.data_dir) / "imported" / digest[:12] / data.resolve().name
    config.data = text.as_data(decoded)
    config.output_dir = str(output_dir)
    # As of any run, but with a hash of the checkpoint: nobody can train it from the start.
    name = f"{run_name(config).rpartition('-')[0]}-{digest[:10]}"
    folder = RunFolder(output_dir / name)
    if folder.path.exists():
        raise UserError(f"{folder.path}: is there already; delete it to import {file} again")
    model = make_model(config.model, config.span, symbols)
    try:
        model.load_state_dict(checkpoint.tensors)
    except RuntimeError as error:
        raise _no_checkpoint(file, str(error).splitlines()[-1].strip()) from None
    fingerprint = corpus_of(config.data, Path(config.data_dir)).fingerprint
    folder.write_config(to_yaml(config))
    text.vocabulary.write(folder.vocabulary)
    folder.source.note_import(str(file), digest, fingerprint)
    Checkpoints(folder.checkpoints).save_best(
        {"step": checkpoint.step, "model": model.state_dict()}
    )
    folder.set_status(State.DONE, checkpoint.step)
    return folder.path


@dataclass(frozen=True)
class _Checkpoint:
    """Weights under our names, and how many updates they have had."""

    tensors: dict[str, Tensor]
    step: int

    @property
    def has_clusters(self) -> bool:
        """Whether input and output are adaptive."""
        return "embedding.weight" not in self.tensors

    @property
    def words(self) -> list[Tensor]:
        """The embedding's vectors, (V, D), or of each cluster of words."""
        if not self.has_clusters:
            return [self.tensors["embedding.weight"]]
        names = (f"embedding.words.{i}.weight" for i in itertools.count())
        return [
            self.tensors[name] for name in itertools.takewhile(self.tensors.__contains__, names)
        ]

    def overrides(self, ramp: int) -> list[str]:
        """What the shapes of the tensors tell of the configuration.

        Dropout, the optimizer and the like are not known; they do not matter for weights that no
        longer change.
        """
        limit, head_dim = self.tensors["position_SK"].shape
        dim = self.words[0].shape[1]
        layers = {name.split(".")[1] for name in self.tensors if name.startswith("layers.")}
        inner = self.tensors.get("layers.0.feed_forward.inner.bias")
        persistent = self.tensors.get("layers.0.attention.persistent.key_HPK")
        adaptive = "layers.0.attention.span.fraction" in self.tensors
        return [
            f"model.layers={len(layers)}",
            f"model.dim={dim}",
            f"model.heads={dim // head_dim}",
            f"model.ffn_dim={0 if inner is None else len(inner)}",
            f"model.persistent={0 if persistent is None else persistent.shape[1]}",
            *(self._clusters() if self.has_clusters else []),
            f"span={'adaptive' if adaptive else 'fixed'}",
            f"span.limit={limit}",
            *([f"span.ramp={ramp}"] if adaptive else []),
            f"train.steps={max(1, self.step)}",
            "optimizer.warmup_steps=0",
            "tracking=disabled",
        ]

    def _clusters(self) -> list[str]:
        sizes, widths = zip(*(words.shape for words in self.words), strict=True)
        cutoffs = list(itertools.accumulate(sizes))[:-1]
        tied = torch.equal(self.words[0], self.tensors["output.words.0.weight"])
        return [
            f"model.cutoffs={cutoffs}",
            f"model.divisor={widths[0] // widths[1]}",
            f"model.tied={str(tied).lower()}",
        ]


def _read(file: Path) -> _Checkpoint:
    try:
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise UserError(f"{file}: holds more than tensors and plain values, not read") from None
    except Exception as error:  # what is no pickle at all breaks its reader in many ways
        raise UserError(
            f"{file}: cannot be read as a checkpoint ({type(error).__name__})"
        ) from None
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise _no_checkpoint(file, "there is no model in it")
    tensors = {}
    for name, tensor in state["model"].items():
        if _NOT_NEEDED.fullmatch(name):
            continue
        tensors[_our_name(file, name)] = _in_our_order(name, tensor)
    checkpoint = _Checkpoint(tensors, _step(state))
    for name, found in (("position_SK", "position_SK" in tensors), ("embedding", checkpoint.words)):
        if not found:
            raise _no_checkpoint(file, f"it lacks what is {name} here")
    return checkpoint


def _our_name(file: Path, name: str) -> str:
    public = name.removeprefix(_WRAPPED)
    number = _NUMBER.search(public)
    ours = _NAMES.get(_NUMBER.sub("{}", public))
    if ours is None:
        raise _no_checkpoint(file, f"it has {name}")
    return ours.format(number[0] if number else "")


def _in_our_order(name: str, tensor: Tensor) -> Tensor:
    if name.endswith("key_pe"):
        return tensor.squeeze(0).T.flip(0).contiguous()
    if name.endswith("persistent_memory.key"):
        return tensor.transpose(1, 2).contiguous()
    if name.endswith("current_val"):
        return tensor.flatten()
    if ".cluster_proj." in name:
        return tensor.flip(0)
    return tensor


def _step(state: Mapping[str, Any]) -> int:
    """Updates so far: the last that its log has."""
    logger = state.get("logger")
    steps = logger.get("step") if isinstance(logger, dict) else None
    return int(steps[-1]) if steps else 0


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _no_checkpoint(file: Path, reason: str) -> UserError:
    return UserError(f"{file}: is no checkpoint of the public code ({reason})")
