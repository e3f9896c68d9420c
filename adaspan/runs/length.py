"""Runs that differ in their length only, and how many updates they have in common.

`train.steps` and the cool-down at the end are all by which an update knows how long its run is. Two
runs that differ in nothing else make the same updates until one of them ends or cools down; one may
begin with what the other has trained (`train/extend.py`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adaspan.config.schema import RunConfig
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import run_name


@dataclass(frozen=True)
class Relative:
    """A run that differs from another one in its length only.

    Args:
        folder: of the run.
        config: what determines its result; the rest is as in the other run.
        log_every: steps between its rows.
    """

    folder: RunFolder
    config: RunConfig
    log_every: int


def relatives(config: RunConfig) -> Iterator[Relative]:
    """The runs in the same `output_dir` that differ from this one in their length only."""
    own = run_name(config)
    for path in sorted(Path(config.output_dir).glob(f"{own.rpartition('-')[0]}-*")):
        if path.name != own and (relative := _as_relative(path, config)):
            yield relative


def end_of_updates_in_common(config: RunConfig, other: RunConfig) -> tuple[int, str]:
    """The last update that two runs make alike which differ in their length only, and what comes
    then, as one says it to who trains the first of them.
    """
    ends = [
        (_last_before_cooldown(config), config, "this run"),
        (_last_before_cooldown(other), other, "it"),
    ]
    step, first, who = min(ends, key=lambda end: end[0])
    cools_down = step < first.train.steps
    then = f"cools down from step {step} on" if cools_down else f"ends at step {step}"
    return step, f"{who} {then}"


def in_words(config: RunConfig) -> str:
    """What a person calls its length."""
    steps, cooldown = config.train.steps, config.optimizer.cooldown_steps
    return f"train.steps={steps}" + (f", optimizer.cooldown_steps={cooldown}" if cooldown else "")


def _last_before_cooldown(config: RunConfig) -> int:
    return config.train.steps - config.optimizer.cooldown_steps


def evaluates(config: RunConfig, step: int) -> bool:
    """Whether a run has a quick evaluation after this step: the last one has, whatever it is."""
    return step == config.train.steps or step % config.train.eval_every == 0


def _as_relative(path: Path, config: RunConfig) -> Relative | None:
    """The run in a folder whose name, the identity, is this configuration's with another length."""
    try:
        text = (path / "config.yaml").read_text()
        steps, log_every = (int(_written(text, "train", key)) for key in ("steps", "log_every"))
        cooldown_steps = int(_written(text, "optimizer", "cooldown_steps"))
        cooldown_factor = float(_written(text, "optimizer", "cooldown_factor"))
    except (OSError, ValueError):  # somebody else's, or no run of ours
        return None
    optimizer = dataclasses.replace(
        config.optimizer, cooldown_steps=cooldown_steps, cooldown_factor=cooldown_factor
    )
    train = dataclasses.replace(config.train, steps=steps)
    other = dataclasses.replace(config, optimizer=optimizer, train=train)
    return Relative(RunFolder(path), other, log_every) if run_name(other) == path.name else None


def _written(config_yaml: str, group: str, key: str) -> str:
    """A value, as the file that we write has it; a hundredth of the time that YAML takes.

    Raises:
        ValueError: it is not there.
    """
    if found := re.search(rf"^{group}:\n(?:  .*\n)*?  {key}: (.+)$", config_yaml, re.MULTILINE):
        return found[1]
    raise ValueError(f"{group}.{key}")
