"""How far back a head looks, and how that is learned (paper, section 2.2). Nothing more.

base.py      what every kind of span offers
fixed.py     as far as the limit: the baseline
learned.py   the penalty, which learned spans share
adaptive.py  one for each head
dynamic.py   one for each head and token
mask.py      the soft mask over a head's attention
window.py    how many keys a span sees, and how long a cache it needs

A span z is counted in tokens; `limit` is S, `ramp` is R.

Under the names of the public code: its `AdaptiveMask` (template, `current_val`, ramp, crop to
shorter inputs) is `soft_mask` here, with `AdaptiveSpan.fraction` as the current value; its
`AdaptiveSpan` keeps its name: `forward` gives the spans that mask and renormalise a head's
attention, `penalty` is the L1 loss, `clamp_` is `clamp_param`, `reach` says how much memory can be
trimmed, and `cache_length` how long the cache must be.
"""

from adaspan.nn.span.adaptive import AdaptiveSpan
from adaspan.nn.span.base import Span, check_is_span
from adaspan.nn.span.dynamic import DynamicSpan
from adaspan.nn.span.fixed import FixedSpan
from adaspan.nn.span.learned import LOSS_COEFFICIENT, RAMP, LearnedSpan
from adaspan.nn.span.mask import soft_mask
from adaspan.nn.span.window import ROUNDING, SpanRangeError, cache_length, reach, within

__all__ = [
    "LOSS_COEFFICIENT",
    "RAMP",
    "ROUNDING",
    "AdaptiveSpan",
    "DynamicSpan",
    "FixedSpan",
    "LearnedSpan",
    "Span",
    "SpanRangeError",
    "cache_length",
    "check_is_span",
    "reach",
    "soft_mask",
    "within",
]
