"""Several processes train the same thing, or none of them trains: before the first step they
compare what each was given.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

import torch
from torch.distributed.distributed_c10d import Store

from adaspan.config.resolved import flat
from adaspan.config.schema import RunConfig
from adaspan.errors import SharedError
from adaspan.runs.code.fingerprint import code_of_run
from adaspan.runs.start import environment, told
from adaspan.train.build import choose_attention
from adaspan.train.device import choose_precision, computing_on, precision_name

Facts = Mapping[str, str]  # what a process was given, by key

# Each process may have its own GPU, and its copy of the text where it likes; the text itself is
# compared when it is read. Only the main process speaks to W&B.
_OF_EACH_CONFIG = ("data_dir", "data.archive", "train.device", "tracking")
_OF_EACH_MACHINE = ("cpu",)
_HOST = "host"
_READ_SECONDS = 10.0


def facts_of(config: RunConfig, device: torch.device) -> Facts:
    """What this process was given: configuration, code, versions, and what `auto` became.

    Args:
        config: of the run.
        device: where it computes.
    """
    precision = choose_precision(config.train.precision, device)
    attention = choose_attention(config.train.attention, config.model, device, precision)
    own = {
        **environment(),
        **computing_on(device),
        "gpu": device.type,  # whichever it is
        "precision": precision_name(precision),
        "attention": attention,
    }
    facts = {**_values(config), **told(own), **code_of_run(config.extensions)}
    return {key: str(value) for key, value in facts.items() if key not in _OF_EACH_MACHINE}


def exchanged(store: Store, rank: int, world_size: int, own: Facts) -> list[Facts]:
    """The facts of all processes, in the order of their ranks, before they can compute together.

    Args:
        store: which all of them have.
        rank: of this one.
        world_size: how many there are.
        own: the facts of this one.
    """
    store.set(f"facts/{rank}", json.dumps(own))
    everyone = [json.loads(store.get(f"facts/{other}")) for other in range(world_size)]
    store.set(f"read/{rank}", "")
    if rank == 0:  # whose end may be the store's
        everyone_read = [f"read/{other}" for other in range(world_size)]
        store.wait(everyone_read, timedelta(seconds=_READ_SECONDS))
    return everyone


def require_alike(everyone: Sequence[Facts]) -> None:
    """Refuse processes of which one was given something else than the main one.

    Args:
        everyone: the facts of all processes, in the order of their ranks.

    Raises:
        SharedError: names the first key that differs and both values; all processes raise it.
    """
    first = everyone[0]
    for rank, other in enumerate(everyone):
        for key in {**first, **other}:
            if key != _HOST and first.get(key) != other.get(key):
                values = " but ".join(
                    f"{facts.get(key, 'missing')} in process {number} on {facts[_HOST]}"
                    for number, facts in ((0, first), (rank, other))
                )
                raise SharedError(f"{key}: {values}; all processes of a run need the same")


def _values(config: RunConfig) -> dict[str, str]:
    """The values of a configuration as they are typed, less those that each process may have."""
    from adaspan.config.typed import written  # imports Hydra: not needed to load a model

    of_each = (*_OF_EACH_CONFIG, *(f"data.{key}" for key in config.data.places))
    values = {
        key: written(value)
        for key, value in flat(dataclasses.asdict(config)).items()
        if key not in of_each and key.partition(".")[0] not in of_each
    }
    return {**values, "name of the data": config.data.name}  # a part of the run folder's
