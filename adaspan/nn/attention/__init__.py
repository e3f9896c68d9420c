"""Attention over a sliding window with soft, per-head spans: one signature, several ways.

- `reference.py` is the formula as printed, dense and slow: the oracle that every other
  implementation is tested against, gradients included.
- `banded.py` computes only the band that the window reaches, on any device, cut into tiles as
  `tiles.py` says (`band.py`: one tile); for one query, without gradients, `row.py` does.
- `kernels/` has kernels for a GPU, which compute each head as far as its own spans reach.
- `persistent.py` adds keys that every query sees, to the result of any of them.
- `implementation.py` says what another one must offer.

What a window costs is spent on every head that shares it: `groups.py` says which ones should.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adaspan.nn.attention.banded import attend_banded, banded_macs
from adaspan.nn.attention.implementation import Implementation
from adaspan.nn.attention.kernels import attend_by_head, attend_kernels, kernel_macs, unfit
from adaspan.nn.attention.persistent import join_persistent
from adaspan.nn.attention.reference import attend_reference, reference_macs
from adaspan.nn.attention.tiles import group_cost
from adaspan.nn.checks import (
    ContractError,
    Shapes,
    check_above_zero,
    check_counts,
    check_floats,
    check_probability,
    check_span,
    check_span_values,
)

__all__ = [
    "ANYWHERE",
    "BUILT_IN",
    "IMPLEMENTATIONS",
    "Implementation",
    "attend",
    "attend_unchecked",
    "check_name",
    "resolve",
    "why_unfit",
]

IMPLEMENTATIONS = {
    "reference": Implementation(attend_reference, reference_macs, group_cost=None),
    "banded": Implementation(attend_banded, banded_macs, group_cost),
    "triton": Implementation(
        attend_kernels, kernel_macs, group_cost=None, unfit=unfit, by_head=attend_by_head
    ),
}
# Those whose weights are the printed formula's; others may be added.
BUILT_IN = tuple(IMPLEMENTATIONS)
# Those that compute on any device.
ANYWHERE = tuple(name for name, each in IMPLEMENTATIONS.items() if each.unfit is None)


def check_name(implementation: str) -> None:
    """Refuse what is neither `auto` nor the name of an implementation.

    Raises:
        ValueError: says which there are.
    """
    known = ["auto", *IMPLEMENTATIONS]
    if implementation not in known:
        raise ValueError(f"implementation={implementation}: must be one of {', '.join(known)}")


def resolve(implementation: str, device: torch.device, head_dim: int) -> str:
    """Name of the implementation that `auto` stands for; any other name as it is.

    Raises:
        ValueError: there is no such implementation, or it cannot compute heads of this width on
            the device; says what it lacks.
    """
    check_name(implementation)
    if implementation == "auto":
        return "banded"
    reason = why_unfit(implementation, device, head_dim)
    if reason is not None:
        raise ValueError(f"attention={implementation}: {reason}; auto takes what fits")
    return implementation


def why_unfit(implementation: str, device: torch.device, head_dim: int) -> str | None:
    """What an implementation lacks to compute heads of this width on the device; None: nothing."""
    chosen = IMPLEMENTATIONS.get(implementation)  # None: auto, or not made yet
    return None if chosen is None or chosen.unfit is None else chosen.unfit(device, head_dim)


def attend(
    query_BHMK: Tensor,
    key_BHCK: Tensor,
    value_BHCK: Tensor,
    position: Tensor | None = None,
    *,
    window: int | None = None,
    span: Tensor | None = None,
    ramp: float | None = None,
    unmasked: int = 0,
    persistent: tuple[Tensor, Tensor] | None = None,
    dropout: float = 0.0,
    implementation: str = "auto",
) -> Tensor:
    """Attend from each token of a block to the S tokens before it, itself excluded.

    For a query at t and a key at t - 1 - x (paper, equations 1 to 4; x = 0 is the most recent):

        s(t, x) = (q_t . k_{t-1-x} + q_t . p_x) / sqrt(K)
        a(t, x) = m_z(x) exp s(t, x) / sum over x' of m_z(x') exp s(t, x')
        o_t     = sum over x of a(t, x) v_{t-1-x}

    Keys that do not exist (before the start of the stream) take no part; a query without any key
    gets 0 and passes no gradient, or with persistent keys attends to these alone. What they hold
    must be finite. Only `reference` supports second derivatives.

    Args:
        query_BHMK: queries of the block, before scaling. Keys, values and positions may be of
            another precision: scores are computed in that of the queries.
        key_BHCK: keys of the C - M cached tokens, then of the block itself.
        value_BHCK: values, likewise.
        position: p_x, (S, K), one embedding per distance, shared by all heads. None: no such term,
            for a model that has the positions in its queries and keys (rotary embeddings) or
            nowhere.
        window: S, the hard limit of how far back a query sees. Left out, it is as many as there are
            positions, or all past keys.
        span: z in tokens, at least 0, shape (H, 1) or (B, H, M), at least float32; None: no mask.
        ramp: R in tokens; needed with a span.
        unmasked: every span is at least this long, so the mask is skipped for smaller distances.
        persistent: keys and values (H, P, K) that every query sees in the same softmax, without
            position and mask (Sukhbaatar et al., "Augmenting Self-attention with Persistent
            Memory", equation 9).
        dropout: probability with which an attention weight is dropped. From the same random state
            every implementation but `triton` drops the same weights of a call. Of a layer whose
            heads have windows of their own, each window is a call.
        implementation: `auto` or a key of `IMPLEMENTATIONS`.

    Returns:
        o_BHMK, in the dtype of the values.

    Raises:
        ValueError: a shape or a value does not fit; says what must be and what is.
    """
    _check_tensors(query_BHMK, key_BHCK, value_BHCK, position, window, span, persistent)
    if window is None:
        past = max(1, key_BHCK.shape[2] - 1)
        window = past if position is None else len(position)
    _check_numbers(window, span, ramp, unmasked, dropout)
    return attend_unchecked(
        query_BHMK,
        key_BHCK,
        value_BHCK,
        position,
        window=window,
        span=span,
        ramp=ramp,
        unmasked=unmasked,
        persistent=persistent,
        dropout=dropout,
        implementation=implementation,
    )


def attend_unchecked(
    query_BHMK: Tensor,
    key_BHCK: Tensor,
    value_BHCK: Tensor,
    position: Tensor | None,
    *,
    window: int,
    span: Tensor | None,
    ramp: float | None,
    unmasked: int,
    persistent: tuple[Tensor, Tensor] | None,
    dropout: float,
    implementation: str,
    past_2BHLK: Tensor | None = None,
    windows: tuple[int, ...] = (),
) -> Tensor:
    """`attend` for a layer, whose arguments fit. Spans of a run that has diverged are let through:
    its loss says so. With `past_2BHLK`, for an implementation with `by_head`, keys and values are
    those of the block alone, and each head sees as far as its own of `windows`.
    """
    name = resolve(implementation, query_BHMK.device, query_BHMK.shape[-1])
    chosen = IMPLEMENTATIONS[name]
    if past_2BHLK is not None:
        assert chosen.by_head is not None
        result = chosen.by_head(
            past_2BHLK=past_2BHLK,
            query_BHMK=query_BHMK,
            key_BHMK=key_BHCK,
            value_BHMK=value_BHCK,
            position_SK=position,
            windows=windows,
            span=span,
            ramp=ramp,
            dropout=dropout,
        )
    else:
        kept_BHMS = None  # the oldest first
        if dropout and chosen.by_head is None:
            shape = (*query_BHMK.shape[:3], window)
            kept_BHMS = torch.empty(shape, dtype=torch.bool, device=query_BHMK.device)
            kept_BHMS.bernoulli_(1 - dropout)
        result = chosen.attend(
            query_BHMK=query_BHMK,
            key_BHCK=key_BHCK,
            value_BHCK=value_BHCK,
            position_SK=position,
            window=window,
            span=span,
            ramp=ramp,
            unmasked=unmasked,
            kept_BHMS=kept_BHMS,
            dropout=dropout,
        )
    output_BHMK, log_sum_BHM = _checked(result, name, query_BHMK)
    if persistent is None:
        return output_BHMK
    return join_persistent(output_BHMK, log_sum_BHM, query_BHMK, *persistent, dropout)


def _check_tensors(
    query_BHMK: Tensor,
    key_BHCK: Tensor,
    value_BHCK: Tensor,
    position_SK: Tensor | None,
    window: int | None,
    span: Tensor | None,
    persistent: tuple[Tensor, Tensor] | None,
) -> None:
    shapes = Shapes() if window is None else Shapes(S=window)
    shapes.check("query", query_BHMK, "BHMK")
    shapes.check("key", key_BHCK, "BHCK")
    shapes.check("value", value_BHCK, "BHCK")
    check_floats(query=query_BHMK, key=key_BHCK, value=value_BHCK)
    if 0 in query_BHMK.shape:
        raise ValueError(f"query: must not be empty, has shape {tuple(query_BHMK.shape)}")
    block, keys = query_BHMK.shape[2], key_BHCK.shape[2]
    if block > keys:
        raise ValueError(
            f"key: must hold C tokens, the last M of them the queries' own, has C={keys}, M={block}"
        )
    if position_SK is not None:
        shapes.check("position", position_SK, "SK")
        check_floats(position=position_SK)
    if span is not None:
        check_span(span, shapes)
        check_span_values(span)
    if persistent is not None:
        if not isinstance(persistent, tuple | list) or len(persistent) != 2:
            raise ValueError("persistent: must be two tensors, keys and values")
        for name, tensor in zip(("key", "value"), persistent, strict=True):
            shapes.check(f"persistent {name}", tensor, "HPK")
            check_floats(**{f"persistent {name}": tensor})


def _checked(result: object, name: str, query_BHMK: Tensor) -> tuple[Tensor, Tensor]:
    """What an implementation gave, which may be a user's own."""
    shape = tuple(query_BHMK.shape)
    match result:
        case (Tensor() as output_BHMK, Tensor() as log_sum_BHM):
            if (output_BHMK.shape, log_sum_BHM.shape) == (shape, shape[:-1]):
                if log_sum_BHM.dtype in (torch.float32, torch.float64):
                    return output_BHMK, log_sum_BHM
                raise ContractError(
                    f"attention {name}: the logarithms that attend gives must be float32 or "
                    f"float64, are {log_sum_BHM.dtype}"
                )
            given = f"shapes {tuple(output_BHMK.shape)} and {tuple(log_sum_BHM.shape)}"
        case _:
            given = type(result).__name__
    raise ContractError(
        f"attention {name}: attend must give two tensors, {shape} and {shape[:-1]}, gave {given}"
    )


def _check_numbers(
    window: int, span: Tensor | None, ramp: float | None, unmasked: int, dropout: float
) -> None:
    check_counts(window=window)
    check_counts(0, unmasked=unmasked)
    check_probability(dropout=dropout)
    if ramp is not None:
        check_above_zero(ramp=ramp)
    elif span is not None:
        raise ValueError("ramp=None: must be given with a span")
