"""Figures of a user's own, which extensions register, beside those that are built in."""

from __future__ import annotations

from adaspan.config.kinds.registry import KINDS
from adaspan.errors import UserError
from adaspan.runs.figures import HEATMAP, declared, summary_name
from adaspan.runs.figures.rows import HEAD

_BUILT_IN = frozenset([*(figure.key for figure in declared()), HEATMAP.key])


def own_keys() -> list[str]:
    """Keys of the figures that extensions have registered."""
    return [*KINDS["figure"]]


def check_own_keys() -> None:
    """Refuse figures of extensions whose keys are taken.

    Raises:
        UserError: one of them is a figure of ours, or W&B could not tell the two apart.
    """
    ours = {figure.summary_name for figure in (*declared(), HEATMAP)}
    for key in own_keys():
        if summary_name(key) in ours or is_built_in(key):
            raise UserError(
                f'register("figure", "{key}"): this key belongs to a built-in figure; '
                "choose another"
            )


def is_built_in(key: str) -> bool:
    """Whether a row's value of this key is ours, not an extension's."""
    return key in _BUILT_IN or HEAD.fullmatch(key) is not None
