"""Processes that were not given the same refuse to train, each in the same words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch._C._distributed_c10d import HashStore

from adaspan.config.schema import RunConfig
from adaspan.errors import SharedError
from adaspan.train.agree import exchanged, facts_of, require_alike
from tests.conftest import compose_run, write_sums

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    text = write_sums(tmp_path_factory.mktemp("text"))
    return compose_run("data=text", f"data.path={text}", f"output_dir={text.parent / 'runs'}")


def with_(config: RunConfig, group: str, **values: Any) -> RunConfig:
    part = dataclasses.replace(getattr(config, group), **values)
    return dataclasses.replace(config, **{group: part})


CHANGES: dict[str, tuple[Callable[[RunConfig], RunConfig], str, str]] = {
    "seed": (lambda config: with_(config, "train", seed=2), "train.seed", "1 2"),
    "cadence": (lambda config: with_(config, "train", log_every=7), "train.log_every", "10 7"),
    "price": (
        lambda config: with_(config, "span", loss_coefficient=0.5),
        "span.loss_coefficient",
        "2e-06 0.5",
    ),
    "symbols": (
        lambda config: with_(config, "data", symbols="characters"),
        "data.symbols",
        "bytes characters",
    ),
    "folder": (
        lambda config: dataclasses.replace(config, output_dir="/elsewhere"),
        "output_dir",
        "runs /elsewhere",
    ),
    "name": (
        lambda config: with_(config, "data", path="/elsewhere/copy.txt"),
        "name of the data",
        "sums copy",
    ),
    "precision": (
        lambda config: with_(config, "train", precision="bfloat16"),
        "train.precision",
        "auto bfloat16",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_key_that_differs_is_named_with_both_values(config: RunConfig, change: str) -> None:
    changed, key, values = CHANGES[change]
    first, second = facts_of(config, CPU), facts_of(changed(config), CPU)
    then, now = values.split()
    with pytest.raises(SharedError) as error:
        require_alike([first, first, {**second, "host": "node7"}])
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{key}: ")
    assert f"{then} in process 0 on {first['host']} but " in line
    assert f"{now} in process 2 on node7; all processes of a run need the same" in line


def test_places_tracking_and_hosts_may_differ(config: RunConfig) -> None:
    other = with_(config, "tracking", mode="disabled")
    other = with_(other, "train", device="cpu")
    other = with_(other, "data", path="/scratch/sums.txt", encoding="utf-8")
    other = dataclasses.replace(other, data_dir="/scratch/data")
    require_alike([facts_of(config, CPU), {**facts_of(other, CPU), "host": "node7"}])


def test_versions_code_and_what_auto_became_are_compared(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = facts_of(config, CPU)
    assert {"python", "torch", "numpy", "precision", "attention", "device"} <= facts.keys()
    for key in ("torch", "precision", "attention", "device", "adaspan/nn/layers.py"):
        with pytest.raises(SharedError, match=rf"^{key}: .* but other in process 1 on "):
            require_alike([facts, {**facts, key: "other"}])
    without = {key: value for key, value in facts.items() if key != "torch"}
    with pytest.raises(SharedError, match=r"^torch: missing in process 0 on .* but 2\."):
        require_alike([without, facts])


def test_all_get_the_facts_of_all() -> None:
    store, own = HashStore(), [{"host": name, "train.seed": "1"} for name in ("a", "b", "c")]
    with ThreadPoolExecutor() as processes:
        got = list(processes.map(lambda rank: exchanged(store, rank, 3, own[rank]), (2, 0, 1)))
    assert got == [own, own, own]
