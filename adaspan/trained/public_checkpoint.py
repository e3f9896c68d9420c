"""A checkpoint of the paper's public code, read safely: its tensors under our names.

Its tensors have other names there, and some have another order:

| there | here |
|---|---|
| key_pe (1, K, S), the farthest distance first | position_SK, the nearest first |
| persistent_memory.key (H, K, P) | persistent.key_HPK |
| out_emb.cluster_proj, the last cluster first | output.others, the first cluster first |
"""

from __future__ import annotations

import itertools
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adaspan.errors import UserError

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
# With what a pickle begins that is not within a zip file.
_PICKLE = b"\x80"


@dataclass(frozen=True)
class PublicCheckpoint:
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
        output = self.tensors.get("output.words.0.weight")
        tied = output is not None and torch.equal(self.words[0], output)
        return [
            f"model.cutoffs={cutoffs}",
            f"model.divisor={widths[0] // widths[1] if cutoffs else 1}",
            f"model.tied={str(tied).lower()}",
        ]


def read_public(file: Path) -> PublicCheckpoint:
    """Read a checkpoint of the public code. Nothing in it is run.

    Raises:
        UserError: it is none, or its weights are no finite numbers.
    """
    state = _state(file)
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise no_checkpoint(file, "there is no model in it")
    tensors = {}
    for name, tensor in state["model"].items():
        if isinstance(name, str) and _NOT_NEEDED.fullmatch(name):
            continue
        ours = _our_name(file, name)
        _check(file, name, tensor)
        tensors[ours] = _in_our_order(name, tensor)
    checkpoint = PublicCheckpoint(tensors, _step(file, state))
    for name, found in (("position_SK", "position_SK" in tensors), ("embedding", checkpoint.words)):
        if not found:
            raise no_checkpoint(file, f"it lacks what is {name} here")
    return checkpoint


def _state(file: Path) -> Any:
    """What the file holds. Nothing in it is run."""
    try:
        with file.open("rb") as opened:
            is_pickle = opened.read(1) == _PICKLE
        with warnings.catch_warnings(action="ignore"):  # torch's, of a pickle by another program
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        if is_pickle or zipfile.is_zipfile(file):
            raise UserError(f"{file}: holds more than tensors and plain values, not read") from None
        raise UserError(f"{file}: cannot be read as a checkpoint (it is none of torch)") from None
    except Exception as error:  # what is no pickle at all breaks its reader in many ways
        raise UserError(
            f"{file}: cannot be read as a checkpoint ({type(error).__name__})"
        ) from None


def _check(file: Path, name: str, tensor: object) -> None:
    """Refuse what is no tensor of finite numbers, or has another number of dimensions."""
    if not (
        isinstance(tensor, Tensor)
        and tensor.is_floating_point()
        and (tensor.layout, tensor.device.type) == (torch.strided, "cpu")
        and tensor.numel()
    ):
        raise no_checkpoint(file, f"{name} is no tensor of numbers")
    shape = tuple(tensor.shape)
    if len(shape) != _dimensions(name) or (name.endswith("key_pe") and shape[0] != 1):
        raise no_checkpoint(file, f"{name} has the shape {shape}")
    if not tensor.isfinite().all():
        raise UserError(
            f"{file}: {name} is not finite: the training had failed when this was saved; "
            "import an earlier checkpoint"
        )
    if name.endswith("current_val") and not ((tensor >= 0) & (tensor <= 1)).all():
        raise no_checkpoint(file, f"{name} is a share of the longest span, but not within 0 to 1")


def _dimensions(name: str) -> int:
    if name.endswith(("key_pe", "current_val", "persistent_memory.key", "persistent_memory.val")):
        return 3
    return 1 if name.endswith("bias") or ".norm" in name else 2


def _our_name(file: Path, name: object) -> str:
    public = str(name).removeprefix(_WRAPPED)
    number = _NUMBER.search(public)
    ours = _NAMES.get(_NUMBER.sub("{}", public))
    if ours is None:
        raise no_checkpoint(file, f"it has {name}")
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


def _step(file: Path, state: Mapping[str, Any]) -> int:
    """Updates so far: the last that its log has."""
    logger = state.get("logger")
    steps = logger.get("step", []) if isinstance(logger, dict) else []
    if not isinstance(steps, list) or not all(isinstance(s, int) and s >= 0 for s in steps[-1:]):
        raise no_checkpoint(file, "its log does not tell the updates")
    return steps[-1] if steps else 0


def no_checkpoint(file: Path, reason: str) -> UserError:
    """The error of a file that something else has written."""
    return UserError(f"{file}: is no checkpoint of the public code ({reason})")
