"""Attention over a sliding window with soft, per-head spans: one signature, several ways.

`reference.py` is the formula as printed, dense and slow: the oracle that every other implementation
is tested against, gradients included.
"""

from __future__ import annotations

from torch import Tensor

from adaspan.attention.reference import attend_reference

IMPLEMENTATIONS = {"reference": attend_reference}


def resolve(implementation: str) -> str:
    """Name of the implementation that `auto` stands for; any other name is returned as it is."""
    return "reference" if implementation == "auto" else implementation


def attend(
    query_BHMK: Tensor,
    key_BHCK: Tensor,
    value_BHCK: Tensor,
    position_SK: Tensor,
    *,
    span: Tensor | None = None,
    ramp: float | None = None,
    dropout: float = 0.0,
    implementation: str = "auto",
) -> Tensor:
    """Attend from each token of a block to the S tokens before it, itself excluded.

    For a query at t and a key at t - 1 - x (paper, equations 1 to 4; x = 0 is the most recent):

        s(t, x) = (q_t . k_{t-1-x} + q_t . p_x) / sqrt(K)
        a(t, x) = m_z(x) exp s(t, x) / sum over x' of m_z(x') exp s(t, x')
        o_t     = sum over x of a(t, x) v_{t-1-x}

    Keys that do not exist (before the start of the stream) take no part; a query without any key
    gets 0 and passes no gradient.

    Args:
        query_BHMK: queries of the block, before scaling.
        key_BHCK: keys of the C - M cached tokens, then of the block itself.
        value_BHCK: values, likewise.
        position_SK: p_x, one embedding a distance, shared by all heads. Its length S is the hard
            limit of the window.
        span: z in tokens, shape (H, 1) or (B, H, M), at least float32; None: no mask.
        ramp: R in tokens; needed with a span.
        dropout: probability with which an attention weight is dropped.
        implementation: `auto` or a key of `IMPLEMENTATIONS`.

    Returns:
        o_BHMK, in the dtype of the values.
    """
    return IMPLEMENTATIONS[resolve(implementation)](
        query_BHMK, key_BHCK, value_BHCK, position_SK, span, ramp, dropout
    )
