"""Kernels of the forward pass: windows of the heads, position scores, attention over them."""

import triton
import triton.language as tl

from adaspan.nn.attention.kernels.shared import (
    dot,
    drawn,
    edge_of,
    pack,
    scores_of,
    soft_mask,
    spans_of,
    unpack,
)

_UNSPECIALIZED = ["L", "M", "threshold"]


@triton.jit(do_not_specialize=["window"])
def windows(
    REACH, WIDTHS, WINDOWS, ORDER,
    H, window, ramp,
    HP: tl.constexpr, BM: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """WINDOWS (H,): keys that a head's longest span can see, as `reach` in nn/span.py has it.
    ORDER (H,): heads whose windows are longest come first, so that none ends late.

    Grid: (1,).
    """
    head = tl.arange(0, HP)
    # Never more than there is room for, whatever the spans have become.
    window = tl.minimum(tl.load(WIDTHS + head, head < H, other=0) * BM, window)
    seen = window
    if MASKED:
        reach = tl.load(REACH + head, head < H, other=0.0) + ramp
        reach = tl.where(reach == reach, reach, 0.0)  # the run has diverged, as its loss says
        reach = tl.minimum(tl.maximum(reach, 0.0), window.to(tl.float32))
        seen = tl.minimum(reach.to(tl.int32) + 1, window)
    tl.store(WINDOWS + head, seen, head < H)
    # By the head where windows are equal; those that only fill up come last.
    rank = tl.where(head < H, seen * HP + (HP - 1 - head), -1 - head)
    place = tl.sum((rank[None, :] > rank[:, None]).to(tl.int32), 1)
    tl.store(ORDER + place, head, head < H)


@triton.jit(do_not_specialize=_UNSPECIALIZED)
def position_scores(
    Q, POSITION, SCORES, WINDOWS, ORDER, WIDTHS, STARTS, SEED,
    q_b, q_h, q_m,
    H, M, scale, threshold,
    D: tl.constexpr, DP: tl.constexpr, BM: tl.constexpr, BX: tl.constexpr,
    POSITIONED: tl.constexpr, DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """SCORES = Q . POSITION * scale in key layout, and in its last bits what dropout keeps.

    Grid: (B x tiles of queries, H).
    """
    tiles = tl.cdiv(M, BM)
    b = tl.program_id(0) // tiles
    m0 = tl.program_id(0) % tiles * BM
    head = tl.load(ORDER + tl.program_id(1))
    sequence = b * H + head
    W = tl.load(WINDOWS + head)
    WP = tl.cdiv(W, BM) * BM

    i = tl.arange(0, BM)
    d = tl.arange(0, DP)
    column = tl.arange(0, BX)
    m = m0 + i
    q_at = Q + b.to(tl.int64) * q_b + head * q_h + m[:, None] * q_m + d[None, :]
    q = tl.load(q_at, (m[:, None] < M) & (d[None, :] < D), other=0.0)
    stride = (tl.load(WIDTHS + head) + 1) * BM
    first = scores_of(STARTS, head, BM) + tl.program_id(0).to(tl.int64) * BM * stride
    out = SCORES + first + i[:, None] * (stride + 1) + column[None, :] + WP - BX
    for x0 in range(0, WP, BX):
        x = x0 + (BX - 1) - column
        score = tl.zeros((BM, BX), tl.float32)
        if POSITIONED:
            at = POSITION + x[None, :] * D + d[:, None]
            position = tl.load(at, (x[None, :] < W) & (d[:, None] < D), other=0.0)
            score = dot(q, position, score, PRECISION) * scale
        kept = score == score
        if DROPOUT:
            kept = drawn(SEED, sequence, m[:, None], x[None, :], threshold)
        tl.store(out - x0, pack(score, kept, SCORES.dtype.element_ty, DROPOUT))


@triton.jit(do_not_specialize=_UNSPECIALIZED)
def attend(
    Q, K_PAST, V_PAST, K, V, SCORES, WINDOWS, ORDER, WIDTHS, STARTS, SPAN, OUT, LOG_SUM,
    q_b, q_h, q_m, p_b, p_h, p_c, k_b, k_h, k_c, v_b, v_h, v_c, o_b, o_h, o_m,
    H, L, M, ramp, scale, keep,
    D: tl.constexpr, DP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    SCORED: tl.constexpr, MASKED: tl.constexpr, DYNAMIC: tl.constexpr, DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """OUT, and the logarithm of the sum that its weights were divided by.

    Grid: (B x tiles of queries, H).
    """
    tiles = tl.cdiv(M, BM)
    b = tl.program_id(0) // tiles
    m0 = tl.program_id(0) % tiles * BM
    head = tl.load(ORDER + tl.program_id(1))
    sequence = b * H + head
    W = tl.load(WINDOWS + head)
    WP = tl.cdiv(W, BM) * BM

    i = tl.arange(0, BM)
    d = tl.arange(0, DP)
    column = tl.arange(0, BN)
    m = m0 + i
    is_query = m < M
    b_64 = b.to(tl.int64)
    q_at = Q + b_64 * q_b + head * q_h + m[:, None] * q_m + d[None, :]
    q = tl.load(q_at, is_query[:, None] & (d[None, :] < D), other=0.0)
    edge = edge_of(spans_of(SPAN, head, sequence * M, m, M, MASKED, DYNAMIC), m, ramp)
    farthest = tl.maximum(m - W, -L)
    stride = (tl.load(WIDTHS + head) + 1) * BM
    first = scores_of(STARTS, head, BM) + tl.program_id(0).to(tl.int64) * BM * stride
    scores_at = SCORES + first + i[:, None] * stride + column[None, :]
    of_past = b_64 * p_b + head * p_h + L * p_c
    k_past, k_block = K_PAST + of_past, K + b_64 * k_b + head * k_h
    v_past, v_block = V_PAST + of_past, V + b_64 * v_b + head * v_h

    top = tl.full((BM,), -1e30, tl.float32)
    total = tl.zeros((BM,), tl.float32)
    out = tl.zeros((BM, DP), tl.float32)
    oldest = m0 - WP
    for c in range(tl.maximum(-L - oldest, 0) // BN * BN, WP + BM, BN):
        j0 = oldest + c
        j = j0 + column
        is_key = (j >= -L) & (j < M)
        is_past = j0 < 0  # the whole tile
        k_step = tl.where(is_past, p_c, k_c)
        k_at = tl.where(is_past, k_past, k_block) + j0 * k_step
        k_at = k_at + column[None, :] * k_step + d[:, None]
        k = tl.load(k_at, is_key[None, :] & (d[:, None] < D), other=0.0)
        score = dot(q, k, tl.zeros((BM, BN), tl.float32), PRECISION) * scale
        seen = (j[None, :] < m[:, None]) & (j[None, :] >= farthest[:, None])
        if SCORED:
            own, kept = unpack(tl.load(scores_at + c), DROPOUT)
            score += own
        if MASKED:
            mask = soft_mask(edge[:, None] + j.to(tl.float32)[None, :], ramp)
            seen = seen & (mask > 0)
        new_top = tl.maximum(top, tl.max(tl.where(seen, score, -1e30), 1))
        weight = tl.where(seen, tl.exp2(score - new_top[:, None]), 0.0)
        if MASKED:
            weight = weight * mask
        shrunk = tl.exp2(top - new_top)
        total = total * shrunk + tl.sum(weight, 1)
        if DROPOUT:
            weight = tl.where(kept, weight, 0.0)
        v_step = tl.where(is_past, p_c, v_c)
        v_at = tl.where(is_past, v_past, v_block) + j0 * v_step
        v_at = v_at + column[:, None] * v_step + d[None, :]
        v = tl.load(v_at, is_key[:, None] & (d[None, :] < D), other=0.0)
        out = dot(weight.to(v.dtype), v, out * shrunk[:, None], PRECISION)
        top = new_top

    some = total > 0
    out = out / tl.where(some, total * keep, 1.0)[:, None]
    log_sum = tl.where(some, top + tl.log2(tl.where(some, total, 1.0)), -1e30)
    out_at = OUT + b_64 * o_b + head * o_h + m[:, None] * o_m + d[None, :]
    tl.store(out_at, out.to(OUT.dtype.element_ty), is_query[:, None] & (d[None, :] < D))
    tl.store(LOG_SUM + sequence * M + m, log_sum, is_query)
