"""An attention of a user's own: what it offers, and what of it would be wrong in silence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from adaspan.config.kinds.contract import wrong_signature
from adaspan.config.kinds.registry import KINDS
from adaspan.errors import KindError, in_words
from adaspan.nn.attention import BUILT_IN, IMPLEMENTATIONS, Implementation, attend_unchecked
from adaspan.nn.attention.implementation import Attend, CountMacs, GroupCost
from adaspan.nn.checks import ContractError
from adaspan.nn.transformer import Transformer

# What is tried: a block of so many tokens after those of a window.
_BLOCK, _WINDOW = 3, 4


def implementation_of(attention: str) -> Implementation:
    """What is registered under a name.

    Raises:
        KindError: it is not what an attention must be.
    """
    implementation: object = KINDS["attention"][attention]()
    chosen = f"train.attention={attention}"
    if not isinstance(implementation, Implementation):
        raise KindError(
            f"{chosen}: its function must return an adaspan.Implementation, returned "
            f"{in_words(implementation)}"
        )
    for part, contract in (("attend", Attend), ("macs", CountMacs), ("group_cost", GroupCost)):
        own: object = getattr(implementation, part)
        may_be_left_out = own is None and part == "group_cost"
        if not may_be_left_out and (mistake := _mistake_in(own, contract.__call__)):
            raise KindError(f"{chosen}: {part}: {mistake}")
    counted: object = implementation.macs(
        sequences=1, block=1, keys=2, window=1, head_dim=1, device=torch.device("cpu")
    )
    match counted:
        case (int(), int()):
            return implementation
    raise KindError(f"{chosen}: macs: must give two whole numbers, gave {counted!r}")


def _mistake_in(own: object, method: Callable[..., Any]) -> str | None:
    if not callable(own):
        return f"must be a function, is {in_words(own)}"
    return wrong_signature(own, partial(method, None))  # without self


@torch.no_grad()
def check_attend(model: Transformer, precision: torch.dtype) -> None:
    """Try an attention of a user's own on random queries, keys and values. Draws none of the random
    numbers that training draws.

    Args:
        model: that computes with it.
        precision: of matrix products.

    Raises:
        ContractError: what it gives is not finite, or depends on what a query must not see.
    """
    if model.attention in BUILT_IN:
        return
    device = model.position_SK.device
    attention = model.typed_layers()[0].attention
    past = min(_WINDOW, model.limit)
    shape = (3, 1, attention.heads, past + _BLOCK, attention.head_dim)
    random = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device, precision)
    query, key_value = random[0, :, :, past:], random[1:]
    changed = key_value.clone()
    changed[..., past + 1 :, :] *= -1  # the second query's own place, and all after it
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        given, given_changed = (_attended(model, query, each) for each in (key_value, changed))
    if not given.isfinite().all():
        raise ContractError(
            f"attention {model.attention}: attend gives values that are not finite, for random "
            "queries, keys and values"
        )
    difference = (given - given_changed)[:, :, :2].abs().max()
    if difference > torch.finfo(precision).eps ** 0.5 * given.abs().max():
        raise ContractError(
            f"attention {model.attention}: attend lets a query see its own token or a later one: "
            "what it gives changes with their keys and values"
        )


def _attended(model: Transformer, query_BHMK: Tensor, key_value_2BHCK: Tensor) -> Tensor:
    """What the attention of the first layer gives: with spans as long as half of the window."""
    window, ramp = key_value_2BHCK.shape[-2] - _BLOCK, model.spans[0].ramp
    heads = query_BHMK.shape[1]
    by_head = IMPLEMENTATIONS[model.attention].by_head is not None
    key_BHCK, value_BHCK = key_value_2BHCK[..., window:, :] if by_head else key_value_2BHCK
    span_H1 = torch.full((heads, 1), window / 2, device=query_BHMK.device)
    return attend_unchecked(
        query_BHMK,
        key_BHCK,
        value_BHCK,
        model.position_SK[:window],
        window=window,
        span=None if ramp is None else span_H1,
        ramp=ramp,
        unmasked=0,
        persistent=None,
        dropout=0.0,
        implementation=model.attention,
        past_2BHLK=key_value_2BHCK[..., :window, :] if by_head else None,
        windows=(window,) * heads,
    ).float()
