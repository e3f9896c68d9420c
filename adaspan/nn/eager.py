"""What torch.compile leaves as it is, so that a model around it can be compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def eager(function: Callable[P, R]) -> Callable[P, R]:
    """Run uncompiled inside compiled code: windows are learned, and each would be compiled anew.

    `torch.compiler.disable` does that, too, but takes seconds to import even where nothing is
    compiled.
    """

    @wraps(function)
    def uncompiled(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling():
            disabled: Callable[P, R] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
            return disabled(*args, **kwargs)
        return function(*args, **kwargs)

    return uncompiled
