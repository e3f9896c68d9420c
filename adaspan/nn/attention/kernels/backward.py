"""Kernels of the backward pass. No atomics: every sum has one order, so that runs are bit-equal.

With u = exp(s) / sum of m exp(s), g = dO . v, divided by 1 - dropout and 0 where it dropped, and
delta = dO . O less the gradient of the log-sum:

    du = u (g - delta)        ds = m du        dz = sum of du over the closed ramp / R
"""

import triton
import triton.language as tl

from adaspan.nn.attention.kernels.shared import (
    dot,
    edge_of,
    score_gradients_of,
    scores_of,
    soft_mask,
    spans_of,
    unpack,
)

_UNSPECIALIZED = ["L", "M"]


@triton.jit(do_not_specialize=_UNSPECIALIZED)
def query_gradient(
    Q, K_PAST, V_PAST, K, V, SCORES, WINDOWS, ORDER, WIDTHS, STARTS, SPAN,
    OUT, LOG_SUM, D_OUT, D_LOG_SUM,
    D_QUERY, D_SCORES, D_SPAN, DELTA,
    q_b, q_h, q_m, p_b, p_h, p_c, k_b, k_h, k_c, v_b, v_h, v_c, o_b, o_h, o_m, g_b, g_h, g_m,
    H, L, M, ramp, scale, keep,
    D: tl.constexpr, DP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    SCORED: tl.constexpr, MASKED: tl.constexpr, DYNAMIC: tl.constexpr, DROPOUT: tl.constexpr,
    STORES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """D_QUERY by content alone, before scaling; D_SCORES in distance layout; D_SPAN and DELTA by
    row. Grid: (B x tiles of queries, H).
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
    of_query = is_query[:, None] & (d[None, :] < D)
    b_64 = b.to(tl.int64)
    q_at = Q + b_64 * q_b + head * q_h + m[:, None] * q_m + d[None, :]
    q = tl.load(q_at, of_query, other=0.0)
    out_at = OUT + b_64 * o_b + head * o_h + m[:, None] * o_m + d[None, :]
    out = tl.load(out_at, of_query, other=0.0)
    d_out_at = D_OUT + b_64 * g_b + head * g_h + m[:, None] * g_m + d[None, :]
    d_out = tl.load(d_out_at, of_query, other=0.0)
    log_sum = tl.load(LOG_SUM + sequence * M + m, is_query, other=0.0)
    delta = tl.sum(d_out.to(tl.float32) * out.to(tl.float32), 1)
    delta -= tl.load(D_LOG_SUM + sequence * M + m, is_query, other=0.0)
    tl.store(DELTA + sequence * M + m, delta, is_query)
    edge = edge_of(spans_of(SPAN, head, sequence * M, m, M, MASKED, DYNAMIC), m, ramp)
    farthest = tl.maximum(m - W, -L)
    WIDTH = tl.load(WIDTHS + head) * BM
    stride = WIDTH + BM
    row = tl.program_id(0).to(tl.int64) * BM
    scores_at = SCORES + scores_of(STARTS, head, BM) + row * stride
    scores_at += i[:, None] * stride + column[None, :]
    of_past = b_64 * p_b + head * p_h + L * p_c
    k_past, k_block = K_PAST + of_past, K + b_64 * k_b + head * k_h
    v_past, v_block = V_PAST + of_past, V + b_64 * v_b + head * v_h
    # Column WP - 1 - x of row m, for the first of the tile's keys.
    d_scores_at = D_SCORES + score_gradients_of(STARTS, head, BM) + row * WIDTH
    d_scores_at += i[:, None] * (WIDTH - 1) + column[None, :]

    d_query = tl.zeros((BM, DP), tl.float32)
    d_span = tl.zeros((BM,), tl.float32)
    oldest = m0 - WP
    for c in range(tl.maximum(-L - oldest, 0) // BN * BN, WP + BM, BN):
        j0 = oldest + c
        j = j0 + column
        is_key = (j >= -L) & (j < M)
        of_key = is_key[None, :] & (d[:, None] < D)
        is_past = j0 < 0  # the whole tile
        k_step = tl.where(is_past, p_c, k_c)
        k_at = tl.where(is_past, k_past, k_block) + j0 * k_step
        k = tl.load(k_at + column[None, :] * k_step + d[:, None], of_key, other=0.0)
        score = dot(q, k, tl.zeros((BM, BN), tl.float32), PRECISION) * scale
        seen = (j[None, :] < m[:, None]) & (j[None, :] >= farthest[:, None])
        if SCORED:
            own, kept = unpack(tl.load(scores_at + c), DROPOUT)
            score += own
        u = tl.where(seen, tl.exp2(tl.minimum(score - log_sum[:, None], 120.0)), 0.0)
        v_step = tl.where(is_past, p_c, v_c)
        v_at = tl.where(is_past, v_past, v_block) + j0 * v_step
        v = tl.load(v_at + column[None, :] * v_step + d[:, None], of_key, other=0.0)
        d_weight = dot(d_out, v, tl.zeros((BM, BN), tl.float32), PRECISION)
        if DROPOUT:
            d_weight = tl.where(kept, d_weight * (1 / keep), 0.0)
        d_score = u * (d_weight - delta[:, None])
        if MASKED:
            before_end = edge[:, None] + j.to(tl.float32)[None, :]
            on_ramp = (before_end >= 0) & (before_end <= ramp)
            d_span += tl.sum(tl.where(on_ramp, d_score, 0.0), 1)
            d_score = d_score * soft_mask(before_end, ramp)
        d_score = d_score.to(k.dtype)
        if STORES:
            in_row = (j[None, :] < m[:, None]) & (j[None, :] >= (m - WP)[:, None])
            tl.store(d_scores_at + c, d_score, in_row)
        d_query = dot(d_score, tl.trans(k), d_query, PRECISION)

    # Row m of D_QUERY is of its own buffer, (B, H, M, D).
    d_query_at = D_QUERY + sequence.to(tl.int64) * M * D + m[:, None] * D + d[None, :]
    tl.store(d_query_at, d_query, of_query)
    if MASKED:
        tl.store(D_SPAN + sequence * M + m, d_span / ramp, is_query)


@triton.jit(do_not_specialize=_UNSPECIALIZED)
def query_gradient_by_position(
    POSITION, D_SCORES, WINDOWS, ORDER, WIDTHS, STARTS, D_QUERY_BY_CONTENT, D_QUERY,
    q_b, q_h, q_m,
    H, L, M, scale,
    D: tl.constexpr, DP: tl.constexpr, BM: tl.constexpr, BX: tl.constexpr,
    POSITIONED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """D_QUERY = (D_QUERY_BY_CONTENT + D_SCORES . POSITION) * scale.

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
    of_query = (m[:, None] < M) & (d[None, :] < D)
    content_at = D_QUERY_BY_CONTENT + sequence.to(tl.int64) * M * D + m[:, None] * D + d[None, :]
    d_query = tl.load(content_at, of_query, other=0.0)
    if POSITIONED:
        WIDTH = tl.load(WIDTHS + head) * BM
        first = score_gradients_of(STARTS, head, BM) + tl.program_id(0).to(tl.int64) * BM * WIDTH
        d_scores_at = D_SCORES + first + i[:, None] * WIDTH + column[None, :]
        for c in range(0, WP, BX):
            x = WP - 1 - (c + column)
            written = (x[None, :] < W) & (x[None, :] <= m[:, None] - 1 + L)
            d_score = tl.load(d_scores_at + c)
            d_score = tl.where(written, d_score, 0.0)
            position_at = POSITION + x[:, None] * D + d[None, :]
            position = tl.load(position_at, (x[:, None] < W) & (d[None, :] < D), other=0.0)
            d_query = dot(d_score, position, d_query, PRECISION)
    d_query_at = D_QUERY + b.to(tl.int64) * q_b + head * q_h + m[:, None] * q_m + d[None, :]
    tl.store(d_query_at, (d_query * scale).to(D_QUERY.dtype.element_ty), of_query)


@triton.jit(do_not_specialize=_UNSPECIALIZED)
def key_gradient(
    Q, K_PAST, V_PAST, K, V, SCORES, WINDOWS, ORDER, WIDTHS, STARTS, SPAN, LOG_SUM, D_OUT, DELTA,
    D_K_PAST, D_V_PAST, D_K, D_V,
    q_b, q_h, q_m, p_b, p_h, p_c, k_b, k_h, k_c, v_b, v_h, v_c, g_b, g_h, g_m,
    d_p_b, d_p_h, d_p_c, d_k_b, d_k_h, d_k_c,
    H, L, M, ramp, scale, natural_scale, keep,
    D: tl.constexpr, DP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    SCORED: tl.constexpr, MASKED: tl.constexpr, DYNAMIC: tl.constexpr, DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """D_K and D_V of the past, 0 beyond the head's window, and of the block.

    Grid: (tiles of keys, H, B). Tiles begin at multiples of BN from the block's first token.
    """
    head = tl.load(ORDER + tl.program_id(1))
    b = tl.program_id(2)
    sequence = b * H + head
    W = tl.load(WINDOWS + head)
    WP = tl.cdiv(W, BM) * BM
    j0 = (tl.program_id(0) - tl.cdiv(L, BN)) * BN

    i = tl.arange(0, BM)
    d = tl.arange(0, DP)
    column = tl.arange(0, BN)
    j = j0 + column
    is_key = (j >= -L) & (j < M)
    of_key = is_key[:, None] & (d[None, :] < D)
    b_64 = b.to(tl.int64)
    of_past = b_64 * p_b + head * p_h + L * p_c
    is_past = j0 < 0  # the whole tile
    k_at = tl.where(is_past, K_PAST + of_past, K + b_64 * k_b + head * k_h)
    k_at = k_at + j[:, None] * tl.where(is_past, p_c, k_c) + d[None, :]
    v_at = tl.where(is_past, V_PAST + of_past, V + b_64 * v_b + head * v_h)
    v_at = v_at + j[:, None] * tl.where(is_past, p_c, v_c) + d[None, :]
    k = tl.load(k_at, of_key, other=0.0)
    v = tl.load(v_at, of_key, other=0.0)
    stride = (tl.load(WIDTHS + head) + 1) * BM
    rows = tl.cdiv(M, BM) * BM
    start = (tl.load(STARTS + head) + head).to(tl.int64) * BM * tl.num_programs(2)
    scores_at = SCORES + (start + b * stride) * rows
    scores_at += i[None, :] * stride + (WP + column)[:, None] + j0
    q_at = Q + b_64 * q_b + head * q_h + i[:, None] * q_m + d[None, :]
    d_out_at = D_OUT + b_64 * g_b + head * g_h + i[:, None] * g_m + d[None, :]

    d_key = tl.zeros((BN, DP), tl.float32)
    d_value = tl.zeros((BN, DP), tl.float32)
    for m0 in range(tl.maximum(j0, 0) // BM * BM, tl.minimum(M, j0 + BN + W), BM):
        m = m0 + i
        is_query = m < M
        of_query = is_query[:, None] & (d[None, :] < D)
        q = tl.load(q_at + m0 * q_m, of_query, other=0.0)
        score = dot(k, tl.trans(q), tl.zeros((BN, BM), tl.float32), PRECISION) * scale
        seen = (j[:, None] < m[None, :]) & (j[:, None] >= tl.maximum(m - W, -L)[None, :])
        if SCORED:
            # Column j - (m0 - WP) of row m.
            stored = tl.load(scores_at + m0 * (stride - 1))
            own, kept = unpack(stored, DROPOUT)
            score += own
        log_sum = tl.load(LOG_SUM + sequence * M + m, is_query, other=0.0)
        u = tl.where(seen, tl.exp2(tl.minimum(score - log_sum[None, :], 120.0)), 0.0)
        weight = u
        if MASKED:
            span = spans_of(SPAN, head, sequence * M, m, M, MASKED, DYNAMIC)
            before_end = edge_of(span, m, ramp)[None, :] + j.to(tl.float32)[:, None]
            weight = u * soft_mask(before_end, ramp)
        d_out = tl.load(d_out_at + m0 * g_m, of_query, other=0.0)
        d_weight = dot(v, tl.trans(d_out), tl.zeros((BN, BM), tl.float32), PRECISION)
        delta = tl.load(DELTA + sequence * M + m, is_query, other=0.0)
        dropped = weight
        if DROPOUT:
            dropped = tl.where(kept, weight * (1 / keep), 0.0)
            d_weight = tl.where(kept, d_weight * (1 / keep), 0.0)
        d_value = dot(dropped.to(d_out.dtype), d_out, d_value, PRECISION)
        d_score = weight * (d_weight - delta[None, :])
        d_key = dot(d_score.to(q.dtype), q, d_key, PRECISION)

    of_past = b_64 * d_p_b + head * d_p_h + L * d_p_c
    of_block = b_64 * d_k_b + head * d_k_h
    row = j[:, None] * tl.where(is_past, d_p_c, d_k_c) + d[None, :]
    d_key_at = tl.where(is_past, D_K_PAST + of_past, D_K + of_block) + row
    d_value_at = tl.where(is_past, D_V_PAST + of_past, D_V + of_block) + row
    tl.store(d_key_at, (d_key * natural_scale).to(D_K.dtype.element_ty), of_key)
    tl.store(d_value_at, d_value.to(D_V.dtype.element_ty), of_key)


@triton.jit(do_not_specialize=[*_UNSPECIALIZED, "B", "chunk"])
def position_gradient(
    Q, D_SCORES, WINDOWS, ORDER, WIDTHS, STARTS, D_POSITION,
    q_b, q_h, q_m,
    B, H, L, M, WIDEST, scale, chunk,
    D: tl.constexpr, DP: tl.constexpr, BM: tl.constexpr, BX: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """D_POSITION (chunks, H, WIDEST, D): what each head adds in some streams, 0 beyond its window.

    Grid: (WIDEST / BX, H, chunks).
    """
    head = tl.load(ORDER + tl.program_id(1))
    W = tl.load(WINDOWS + head)
    WP = tl.cdiv(W, BM) * BM
    c = tl.program_id(0) * BX

    i = tl.arange(0, BM)
    d = tl.arange(0, DP)
    column = tl.arange(0, BX)
    x = WP - 1 - (c + column)
    rows = tl.cdiv(M, BM) * BM
    d_position = tl.zeros((BX, DP), tl.float32)
    if c < WP:
        first = tl.program_id(2).to(tl.int64) * chunk
        WIDTH = tl.load(WIDTHS + head) * BM
        start = tl.load(STARTS + head).to(tl.int64) * BM * B
        for b in range(first, tl.minimum(B, first + chunk)):
            of_sequence = (start + b * WIDTH) * rows
            d_scores_at = D_SCORES + of_sequence + i[None, :] * WIDTH + (c + column)[:, None]
            q_at = Q + b * q_b + head * q_h + i[:, None] * q_m + d[None, :]
            for m0 in range(0, M, BM):
                m = m0 + i
                written = (x[:, None] < W) & (x[:, None] <= m[None, :] - 1 + L)
                d_score = tl.load(d_scores_at + m0 * WIDTH)
                d_score = tl.where(written, d_score, 0.0)
                of_query = (m[:, None] < M) & (d[None, :] < D)
                q = tl.load(q_at + m0 * q_m, of_query, other=0.0)
                d_position = dot(d_score, q, d_position, PRECISION)
    # What a head does not reach is 0, and lies behind: x counts from 0 on there, too.
    x = tl.where(c < WP, x, c + column)
    at = (tl.program_id(2) * H + head) * WIDEST + x
    tl.store(D_POSITION + at[:, None] * D + d[None, :], d_position * scale, d[None, :] < D)
