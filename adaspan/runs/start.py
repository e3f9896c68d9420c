"""One start of a run: where and with what it was computed, and how another start differs."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from typing import Any

Start = dict[str, Any]  # an entry of source.json

_PACKAGES = ("torch", "triton", "numpy", "hydra-core", "omegaconf", "wandb")
_SHORT_COMMIT = 9
# What is told of two starts, in this order. On all but the first two the last bits of an update
# may depend.
_PLACE = ("host", "python")
_COMPUTING = ("device", "cpu", "precision", "attention", "processes", "threads", "cuda")
_LIBRARIES = ("torch", "triton", "numpy")
_CODE = ("code", "commit", "uncommitted changes", "version")
# What stays on this machine, or goes elsewhere as a whole.
_NOT_PUBLISHED = ("host", "uncommitted changes")


def environment() -> Start:
    """The machine of this process, and the versions of all that results may depend on."""
    return {
        "host": platform.node(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(_installed()),
    }


def told(start: Start) -> dict[str, Any]:
    """What a person is told of a start, by name; only what it knows."""
    known = {**start, **start.get("packages", {}), **_code(start), "device": _device(start)}
    keys = (*_PLACE, *_COMPUTING, *_LIBRARIES, *_CODE)
    return {key: known[key] for key in keys if known.get(key) is not None}


def published(start: Start) -> dict[str, Any]:
    """What leaves the machine: the same with the whole commit, less its name."""
    values = {key: value for key, value in told(start).items() if key not in _NOT_PUBLISHED}
    return values | {"commit": start.get("commit")}


def differences(before: Start, now: Start) -> list[str]:
    """How a start differs from an earlier one: `threads 4, now 2`.

    What one of the two does not know, as those of earlier versions may not, is left out.
    """
    later = told(now)
    return [f"{key} {value}, now {later[key]}" for key, value in _other(before, now).items()]


def inexact(before: Start, now: Start) -> list[str]:
    """What of an earlier start may give an update other last bits than this one: `threads 4`."""
    other = _other(before, now)
    # Of the same code, what else differs between two commits changes nothing.
    same_code = "code" in before and before["code"] == now.get("code")
    harmless = (*_PLACE, *_CODE) if same_code else _PLACE
    return [f"{key} {value}" for key, value in other.items() if key not in harmless]


def _other(before: Start, now: Start) -> dict[str, Any]:
    """What of an earlier start is known to be something else now."""
    earlier, later = told(before), told(now)
    return {key: earlier[key] for key in earlier if later.get(key, earlier[key]) != earlier[key]}


def _device(start: Start) -> str | None:
    """Which of several equal GPUs it is does not matter."""
    device: str | None = start.get("device")
    if device is None or not device.startswith("cuda"):
        return device
    return start.get("gpu") or device.partition(" ")[2]  # earlier versions had both in one


def _code(start: Start) -> Start:
    commit, diff = start.get("commit"), start.get("diff")
    if not commit:
        return {}
    changes = hashlib.sha256(diff.encode()).hexdigest()[:_SHORT_COMMIT] if diff else "none"
    return {"commit": commit[:_SHORT_COMMIT], "uncommitted changes": changes}


def _installed() -> Iterator[tuple[str, str]]:
    """Packages with their versions; Triton is not everywhere."""
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)
