"""What the kernels share: which window a head has, where its rows lie, the mask, the products.

A tile of queries begins at m0, a multiple of BM. Keys are counted from the block's first token, so
that those of the cache are negative: key j is row L + j. Query m sees key j = m - 1 - x at the
distances 0 <= x < W of its head, if j >= -L.

    WP      W of the head, rounded up to BM
    WIDTHS  of each head, in units of BM: the room of a row, at least WP
    STARTS  of each head, likewise: the room of a row in the heads before it

Position scores lie in key layout, column j - (m0 - WP) of WIDTH + BM, gradients of scores in
distance layout, column WP - 1 - x of WIDTH, the oldest first; of the first head all rows of all
streams, then of the next. So loads are aligned, and only stores, for which nothing waits, are
skewed. Exponents and logarithms are to the base 2.
"""

import triton
import triton.language as tl
from triton import knobs

# Triton's interpreter multiplies the bits of bfloat16.
_WIDENS = tl.constexpr(knobs.runtime.interpret)


@triton.jit
def dot(a, b, accumulator, PRECISION: tl.constexpr):
    """Accumulator + a @ b"""
    if _WIDENS:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, accumulator, input_precision=PRECISION)


@triton.jit
def scores_of(STARTS, head, BM: tl.constexpr):
    """Where a head's position scores begin, in a kernel whose first axis goes over all rows."""
    return (tl.load(STARTS + head) + head).to(tl.int64) * BM * tl.num_programs(0) * BM


@triton.jit
def score_gradients_of(STARTS, head, BM: tl.constexpr):
    """Where the gradients of a head's scores begin, likewise."""
    return tl.load(STARTS + head).to(tl.int64) * BM * tl.num_programs(0) * BM


@triton.jit
def spans_of(SPAN, head, row, m, M, MASKED: tl.constexpr, DYNAMIC: tl.constexpr):
    """Z of the queries m of a tile; `row` is where the stream's and head's begin."""
    if DYNAMIC:
        span = tl.load(SPAN + row + m, m < M, other=0.0)
    elif MASKED:
        span = tl.load(SPAN + head + tl.zeros_like(m))
    else:
        span = tl.zeros_like(m).to(tl.float32)
    return span


@triton.jit
def edge_of(span, m, ramp):
    """Of each query: key j lies edge + j tokens before the end of its ramp, R + z - x."""
    return (ramp + span) - (m - 1).to(tl.float32)


@triton.jit
def soft_mask(before_end, ramp):
    """Equation 5 of the paper."""
    return tl.minimum(tl.maximum(before_end * (1 / ramp), 0.0), 1.0)


@triton.jit
def unpack(stored, DROPOUT: tl.constexpr):
    """A position score, and whether dropout keeps its weight: the last bit says so."""
    kept = stored == stored
    if DROPOUT:
        if stored.dtype == tl.float16:
            bits = stored.to(tl.int16, bitcast=True)
            kept = (bits & 1) != 0
            stored = (bits & -2).to(tl.float16, bitcast=True)
        else:
            bits = stored.to(tl.int32, bitcast=True)
            kept = (bits & 1) != 0
            stored = (bits & -2).to(tl.float32, bitcast=True)
    return stored.to(tl.float32), kept


@triton.jit
def pack(score, kept, DTYPE: tl.constexpr, DROPOUT: tl.constexpr):
    """What `unpack` takes apart. Rounded, not cut, so that scores stay right on average."""
    stored = score.to(DTYPE)
    if DROPOUT:
        if stored.dtype == tl.float16:
            bits = stored.to(tl.int16, bitcast=True)
            bits = ((bits + 1) & -2) | kept.to(tl.int16)
            stored = bits.to(tl.float16, bitcast=True)
        else:
            bits = stored.to(tl.int32, bitcast=True)
            bits = ((bits + 1) & -2) | kept.to(tl.int32)
            stored = bits.to(tl.float32, bitcast=True)
    return stored


@triton.jit
def scrambled(bits):
    """Each bit of an uint32 made to depend on all."""
    bits ^= bits >> 16
    bits *= 0x21F0AAAD
    bits ^= bits >> 15
    bits *= 0xD35A2D97
    return bits ^ (bits >> 15)


@triton.jit
def drawn(SEED, sequence, m, x, threshold):
    """Whether dropout keeps the weights at distances x (1, X) of queries m (M, 1), by a hash."""
    seed = tl.load(SEED).to(tl.uint32)
    row = scrambled(seed + sequence.to(tl.uint32) * 0x9E3779B9)
    row = scrambled(row + m.to(tl.uint32) * 0x85EBCA6B)
    return scrambled(row ^ (x.to(tl.uint32) * 0x9E3779B9)) >= threshold.to(tl.uint32)
