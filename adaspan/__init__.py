"""Transformers that learn their own attention span (Sukhbaatar et al., ACL 2019).

    from adaspan import AdaptiveSelfAttention, load, read

What is named here is meant to be used from outside; each name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adaspan.data.vocabulary import Vocabulary as Vocabulary
    from adaspan.nn.attention import attend as attend
    from adaspan.nn.self_attention import AdaptiveSelfAttention as AdaptiveSelfAttention
    from adaspan.nn.span import AdaptiveSpan as AdaptiveSpan
    from adaspan.nn.span import DynamicSpan as DynamicSpan
    from adaspan.nn.span import FixedSpan as FixedSpan
    from adaspan.nn.span import Span as Span
    from adaspan.nn.span import soft_mask as soft_mask
    from adaspan.nn.transformer import Transformer as Transformer
    from adaspan.runs.read import read as read
    from adaspan.train.load import load as load

__version__ = "0.1.0"

# Where each of them is.
_MODULES = {
    "AdaptiveSelfAttention": "adaspan.nn.self_attention",
    "AdaptiveSpan": "adaspan.nn.span",
    "DynamicSpan": "adaspan.nn.span",
    "FixedSpan": "adaspan.nn.span",
    "Span": "adaspan.nn.span",
    "Transformer": "adaspan.nn.transformer",
    "Vocabulary": "adaspan.data.vocabulary",
    "attend": "adaspan.nn.attention",
    "load": "adaspan.train.load",
    "read": "adaspan.runs.read",
    "soft_mask": "adaspan.nn.span",
}
__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
