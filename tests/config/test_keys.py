"""A key that comes later is declared as that: every run that was made before keeps its identity."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import pytest
from omegaconf import OmegaConf

from adaspan.config import schema
from adaspan.config.keys import added_key, values_of, without_added
from adaspan.config.kinds.registry import GROUPS, KINDS, extension_of

# The keys that each part of a configuration had when its first runs were made, and those that came
# later, each with the value at which it changes nothing. A new key is added to the second, by
# `added_key`; nothing else here ever changes, or older runs are no longer found.
FIRST: dict[str, tuple[str, dict[str, Any]]] = {
    "run": ("model span data optimizer train tracking output_dir data_dir extensions", {}),
    "model": (
        "layers dim heads ffn_dim dropout embedding_dropout",
        {"persistent": 0, "cutoffs": [], "divisor": 4, "tied": False},
    ),
    "train": (
        "steps batch_size block_size micro_batches eval_every eval_fraction checkpoint_every "
        "log_every seed device precision attention compile profile restart",
        {"graph": True, "extend": True, "accept_other_code": False},
    ),
    "tracking": ("mode project entity group name tags upload_checkpoint", {}),
    "span=fixed": ("kind limit", {"windows": []}),
    "span=local_global": ("kind limit window local_layers", {}),
    "span=adaptive": (
        "kind limit ramp loss_coefficient initial_fraction",
        {"share": "head", "penalty_after": 0},
    ),
    "span=budget": (
        "kind limit target ramp initial_fraction share",
        {"target_flops": None, "target_after": 200},
    ),
    "span=dynamic": ("kind limit ramp loss_coefficient initial_bias", {"penalty_after": 0}),
    "data=stdlib": ("kind", {}),
    "data=text": ("kind path symbols", dict.fromkeys(("train", "valid", "test", "encoding"))),
    "data=enwik8": ("kind archive", {}),
    "data=text8": ("kind archive", {}),
    "data=wikitext103": ("kind archive", {}),
    "data=recall": ("kind distances kept alphabet length seed", {}),
    "optimizer=adagrad": ("kind lr warmup_steps cooldown_steps cooldown_factor grad_clip", {}),
    "optimizer=adam": (
        "kind lr warmup_steps cooldown_steps cooldown_factor grad_clip beta1 beta2 weight_decay",
        {},
    ),
    "optimizer=sgd": (
        "kind lr warmup_steps cooldown_steps cooldown_factor grad_clip momentum",
        {},
    ),
}
PARTS: dict[str, type] = {
    "run": schema.RunConfig,
    "model": schema.ModelConfig,
    "train": schema.TrainConfig,
    "tracking": schema.TrackingConfig,
    **{
        f"{group}={kind}": KINDS[group][kind]
        for group in GROUPS
        for kind in KINDS[group]
        if extension_of(group, kind) is None
    },
}


def test_every_part_is_listed() -> None:
    assert FIRST.keys() == PARTS.keys()


@pytest.mark.parametrize("part", PARTS)
def test_a_key_that_came_later_is_declared_with_the_value_that_changes_nothing(part: str) -> None:
    fields = dataclasses.fields(PARTS[part])
    first, later = FIRST[part]
    added = {field.name: field.metadata["added"] for field in fields if "added" in field.metadata}
    assert {field.name for field in fields} - added.keys() == {*first.split()}
    assert added == later


@dataclass
class _Schedule:
    warmup: int = 0
    decay: list[float] = field(default_factory=list)


@dataclass
class _Earlier:
    heads: int = 2


@dataclass
class _Later(_Earlier):
    share: str = added_key("head")
    limit: int | None = added_key(None)
    windows: list[int] = added_key([])
    prices: dict[str, float] = added_key({"head": 1.0})
    schedule: _Schedule = added_key(_Schedule())
    ramp: int = added_key(8, default=32)


@dataclass
class _Run:
    model: _Later = field(default_factory=_Later)


BEFORE = {"ramp": 8}  # what runs were made with before the key existed


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, {}),
        ({"share": "head", "windows": [], "prices": {"head": 1.0}, "limit": None}, {}),
        ({"share": "layer"}, {"share": "layer"}),
        ({"windows": [3]}, {"windows": [3]}),
        ({"prices": {}}, {"prices": {}}),
        ({"limit": 0}, {"limit": 0}),
        ({"schedule": _Schedule()}, {}),
        ({"schedule": _Schedule(3)}, {"schedule": {"warmup": 3, "decay": []}}),
    ],
)
def test_a_key_that_was_added_changes_only_the_runs_that_use_it(
    given: dict[str, Any], seen: dict[str, Any]
) -> None:
    values: dict[str, Any] = {**BEFORE, **given}
    later = _Later(**values)
    assert values_of(_Run(later)) == {"model": {"heads": 2, **seen}}
    written = {key: getattr(later, key) for key in ("heads", "share", "limit", "windows", "prices")}
    of_written = {key: value for key, value in seen.items() if key != "schedule"}
    assert without_added(written, _Later) == {"heads": 2, **of_written}


def test_a_default_that_changes_is_another_run_and_the_value_of_before_is_still_none() -> None:
    assert values_of(_Later()) == {"heads": 2, "ramp": 32}
    assert values_of(_Later(ramp=8)) == {"heads": 2}


def test_each_configuration_has_its_own_lists_and_hydra_knows_the_keys() -> None:
    one, other = _Later(), _Later()
    one.windows.append(1)
    one.schedule.decay.append(0.5)
    assert other == _Later()
    known = OmegaConf.structured(_Run)
    assert known.model.prices == {"head": 1.0}
    assert known.model.schedule.warmup == 0
