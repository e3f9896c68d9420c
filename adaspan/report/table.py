"""The table of a comparison: a row a group, the same in every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from adaspan.report.comparison import Comparison, Group
from adaspan.units import duration, si

Value = str | float | None
# So many times fewer multiply-adds make a run cheaper.
_WORTH_MENTIONING = 1.05


@dataclass(frozen=True)
class Column:
    """A figure of a group: its exact value, and how a person reads it."""

    title: str
    key: str  # in CSV and JSON
    is_number: bool = True


COLUMNS = (
    Column("valid", "valid_bpc"),
    Column("±", "valid_bpc_std"),
    Column("test", "test_bpc"),
    Column("so far", "quick_valid_bpc"),
    Column("mean span", "span_mean"),
    Column("longest", "span_max"),
    Column("MACs", "paper_macs_per_token"),
    Column("FLOPs", "executed_flops_per_token"),
    Column("tokens/s", "tokens_per_second"),
    Column("time", "seconds"),
    Column("seeds", "seeds"),
    Column("state", "state", is_number=False),
)


def columns_of(comparison: Comparison) -> list[Column]:
    """What varies first; columns in which nothing stands are left out."""
    values = [values_of(group) for group in comparison.groups]
    varied = [Column(key, key, is_number=False) for key in comparison.varied]
    told = [column for column in COLUMNS if any(v[column.key] is not None for v in values)]
    return [*(varied or [Column("run", "run", is_number=False)]), *told]


def values_of(group: Group) -> dict[str, Value]:
    """Exact values by column key; None where there is none."""
    return {
        "run": group.runs[0].name,
        **group.varies,
        "valid_bpc": group.valid_bpc,
        "valid_bpc_std": group.spread,
        "test_bpc": group.test_bpc,
        "quick_valid_bpc": None if group.done else _mean([_quick_bpc(group)]),
        "span_mean": group.span_mean,
        "span_max": group.span_max,
        "paper_macs_per_token": group.macs_per_token,
        "executed_flops_per_token": group.flops_per_token,
        "tokens_per_second": _mean([run.tokens_per_second for run in group.runs]),
        "seconds": _mean([run.seconds for run in group.runs]),
        "seeds": len(group.done) if len(group.runs) > 1 else None,
        "state": state_of(group),
    }


def text_of(column: Column, values: Mapping[str, Value]) -> str:
    """A value as a person reads it."""
    value = values.get(column.key)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    match column.key:
        case "valid_bpc" | "test_bpc" | "valid_bpc_std":
            return f"{value:.3f}"
        case "quick_valid_bpc":
            return f"({value:.3f})"
        case "span_mean" | "span_max":
            return f"{value:.1f}"
        case "seconds":
            return duration(value)
        case "seeds":
            return f"{value:.0f}"
    return si(value)


def state_of(group: Group) -> str:
    """One word if all runs agree, else how many are what; of failures, why."""
    counts: dict[str, int] = {}
    for run in group.runs:
        counts[run.state.state] = counts.get(run.state.state, 0) + 1
    words = (
        next(iter(counts))
        if len(counts) == 1
        else ", ".join(f"{count} {state}" for state, count in counts.items())
    )
    errors = dict.fromkeys(run.state.error for run in group.runs if run.state.error)
    return f"{words}: {'; '.join(errors)}" if errors else words


def finding(comparison: Comparison, margin: float) -> str:
    """The result in a sentence or two.

    Args:
        comparison: the runs.
        margin: bpc by which a cheaper run may be worse than the best.
    """
    if not comparison.done:
        return f"None of the {len(comparison.runs)} runs is done yet."
    best, cheap = comparison.done[0], comparison.cheapest_within(margin)
    assert cheap is not None
    said = (
        f"Best: {best.label}, {best.valid_bpc:.3f} bpc on valid, {best.test_bpc:.3f} on test, at "
        f"{si(best.macs_per_token or 0.0)} multiply-adds a token and a mean span of "
        f"{best.span_mean:.0f}."
    )
    ratio = (best.macs_per_token or 0.0) / (cheap.macs_per_token or 1.0)
    if ratio < _WORTH_MENTIONING:
        return f"{said} No cheaper run comes within {margin:g} bpc of it."
    return (
        f"{said} Within {margin:g} bpc of it the cheapest is {cheap.label}: {cheap.valid_bpc:.3f} "
        f"bpc on valid at {si(cheap.macs_per_token or 0.0)}, {ratio:.2f} times cheaper."
    )


def _quick_bpc(group: Group) -> float | None:
    return _mean([run.evaluations[-1]["val/bpc"] for run in group.runs if run.evaluations])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
