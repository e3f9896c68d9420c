"""What a run is: the command that makes it, and what is special about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

from adaspan.config.hydra import default_values
from adaspan.config.kinds.registry import GROUPS, KINDS
from adaspan.config.moved import places_now
from adaspan.config.resolved import flat, read_chosen, read_config, read_values
from adaspan.config.typed import written
from adaspan.errors import RunError, UserError
from adaspan.runs import figures
from adaspan.runs.code.fingerprint import in_words
from adaspan.runs.command import typed, typed_words
from adaspan.runs.figures import Row
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import run_name
from adaspan.runs.other_code import files_other_here
from adaspan.runs.source import UNKNOWN_CODE
from adaspan.runs.start import differences, told

# Clipping that often is what decides how far spans move.
_OFTEN = 0.5
# Where a run was trained and under which name it is tracked: not what it is.
_INCIDENTAL = (
    "extensions",
    "data_dir",
    "output_dir",
    "train.restart",
    "train.extend",
    "train.accept_other_code",
    "tracking.group",
    "tracking.name",
)

# What shapes and options of an imported checkpoint tell; all else in its config.yaml is a default.
_KNOWN_OF_IMPORTED = re.compile(r"(model|data)(\..*)?|span(\.limit|\.ramp)?")
UNKNOWN_OF_IMPORTED = "dropout, loss coefficient, optimizer, batch and block size"


def command(path: Path) -> str:
    """The command line that goes on with exactly this run, or would train it again."""
    own = read_values(path)
    if _has_another_name(path):
        return typed(path)
    own |= places_now(path, own)
    default = default_values([])
    kinds = {
        group: own[group]["kind"]
        for group in GROUPS
        if own[group]["kind"] != default[group]["kind"]
    }
    # Looking imports no extension, so every value of its kinds is written out.
    foreign = [group for group, kind in kinds.items() if kind not in KINDS[group]]
    known = [f"{group}={kind}" for group, kind in kinds.items() if group not in foreign]
    base = _compared(default_values(known))
    values = [f"extensions={written(own['extensions'])}"] if own.get("extensions") else []
    values += [f"{group}={kind}" for group, kind in kinds.items()]
    values += [
        f"{key}={written(value)}"
        for key, value in _compared(own).items()
        if key not in GROUPS and (base.get(key) != value or key.partition(".")[0] in foreign)
    ]
    # In another folder the command would start the run again.
    values += [
        f"{key}={written(own[key])}"
        for key in ("output_dir", "data_dir")
        if Path(own[key]).resolve() != Path(default[key]).expanduser().resolve()
    ]
    return typed_words(values, path)


def starts(path: Path) -> list[str]:
    """Where and with what a run was computed: all of its first start, and of each later one how it
    differs from the one before.
    """
    known = [start for start in RunFolder(path).source.starts() if "device" in start]
    begun = [[f"{key} {value}" for key, value in told(start).items()] for start in known[:1]]
    later = [differences(*two) or ["as before"] for two in pairwise(known)]
    return [
        f"from step {start['step']}: {' · '.join(parts)}"
        for start, parts in zip(known, [*begun, *later], strict=True)
    ]


def code(path: Path) -> str:
    """Which code has trained a run, and whether it is the one here; empty if none has so far."""
    folder = RunFolder(path)
    codes = folder.source.codes()
    if UNKNOWN_CODE in codes:
        return "not known: the version that trained the run did not write it down"
    if files := files_other_here(folder):
        return f"{', then '.join(codes)}; it is other here: {in_words(files)}"
    return ", then ".join(codes) + bool(codes) * "; the same here"


def _has_another_name(path: Path) -> bool:
    """Whether its values, typed, make another run: it was renamed, or its text is gone."""
    with suppress(RunError, UserError):  # what another version has written is spelled out
        config = read_config(path)
        is_known = all(getattr(config, group).kind in KINDS[group] for group in GROUPS)
        return is_known and run_name(config) != path.resolve().name
    return False


def against_default(path: Path) -> list[str]:
    """`key: this, not that`, for every key in which the run differs from the default one, and of
    which that is known.
    """
    default = _compared(default_values([]))
    imported = RunFolder(path).source.imported() is not None
    return [
        f"{key}: {written(value)}" + (f", not {written(default[key])}" if key in default else "")
        for key, value in _compared(read_chosen(path)).items()
        if (key not in default or default[key] != value) and not (imported and _is_unknown(key))
    ]


def _is_unknown(key: str) -> bool:
    """Of an imported run."""
    return "dropout" in key or not _KNOWN_OF_IMPORTED.fullmatch(key)


def against_siblings(path: Path, siblings: Sequence[Path]) -> list[str]:
    """`key: this, others that and that`, for every key in which a sibling differs from the run."""
    own = _compared(read_values(path))
    others = [_compared(read_values(sibling)) for sibling in siblings if sibling != path]
    lines = []
    for key, value in own.items():
        differing = dict.fromkeys(
            written(other[key]) for other in others if key in other and other[key] != value
        )
        if differing:
            lines.append(f"{key}: {written(value)}, others {', '.join(differing)}")
    return lines


def clipped_spans(path: Path) -> str | None:
    """That the optimizer shortened most steps of the spans, and what that means for the penalty;
    None if it did not, or nothing is known of it.
    """
    if read_values(path)["optimizer"]["kind"] != "adagrad":
        return None  # others shorten gradients, to which their steps then adapt
    clipped, left = figures.CLIPPED["spans"].key, figures.CLIPPED_TO["spans"].key
    rows = [row for row in RunFolder(path).rows() if clipped in row]
    share = fmean(row[clipped] for row in rows) if rows else 0.0
    if share < _OFTEN:
        return None
    line = (
        f"{share:.0%} of their steps were clipped, to {fmean(row[left] for row in rows):.2g} of "
        "their length on average"
    )
    return line + _strength_of_penalty(rows)


def _strength_of_penalty(rows: Sequence[Row]) -> str:
    """What decides about spans whose steps are clipped. A penalty that is most of the gradient
    already makes steps only shorter if it grows; else more than its share is needed to tell.
    """
    pulls = [
        (row[figures.PULL["penalty"].key], row[figures.PULL["prediction"].key])
        for row in rows
        if all(pull.key in row for pull in figures.PULL.values())
    ]
    if not pulls:
        return ""
    penalty, prediction = (median(part) for part in zip(*pulls, strict=True))
    stronger, weaker, then = "prediction", "penalty", ""
    if penalty > prediction:
        stronger, weaker = weaker, stronger
        then = ": a larger span.loss_coefficient moves them more slowly"
    least, most = sorted((penalty, prediction))
    times = f"{_two_digits(most / least)} times as hard as the {weaker}" if least else "alone"
    return f"; the {stronger} pulls at them {times}{then} (docs/choosing.md)"


def _compared(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that make a run what it is, under dotted keys."""
    return {key: value for key, value in flat(values).items() if key not in _INCIDENTAL}


def _two_digits(number: float) -> str:
    """Rounded to two digits, and never 2.4e+02."""
    return f"{float(f'{number:.2g}'):,g}"
