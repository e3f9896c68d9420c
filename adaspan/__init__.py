"""Transformers that learn their own attention span (Sukhbaatar et al., ACL 2019).

    from adaspan import AdaptiveSelfAttention, load, read

In a model of your own:

    AdaptiveSelfAttention     a layer whose heads learn how far back to look
    AdaptiveSpan, DynamicSpan, FixedSpan    its spans: learned a head, a head and token, or none
    Span                      what a span of your own derives from
    attend, soft_mask         the attention and its mask alone, for other position schemes
    Transformer               the whole model

With a run:

    load(folder)              its model, its `Vocabulary` and its configuration
    read(folder)              its figures and spans as tables, without torch
    UserError, RunError       what these raise, in one line that names the way out

To extend the program (docs/extending.md): register, added_key, SpanConfig, DataConfig,
OptimizerConfig, Implementation, Evaluation.

`help(adaspan.load)` explains a name. What is named here is meant to be used from outside; each is
imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adaspan.config.keys import added_key as added_key
    from adaspan.config.kinds.data import DataConfig as DataConfig
    from adaspan.config.kinds.optimizer import OptimizerConfig as OptimizerConfig
    from adaspan.config.kinds.registry import register as register
    from adaspan.config.kinds.span import SpanConfig as SpanConfig
    from adaspan.data.vocabulary import Vocabulary as Vocabulary
    from adaspan.errors import RunError as RunError
    from adaspan.errors import UserError as UserError
    from adaspan.nn.attention import Implementation as Implementation
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
    from adaspan.train.rows import Evaluation as Evaluation

__version__ = "0.1.0"

# Where each of them is.
_MODULES = {
    "AdaptiveSelfAttention": "adaspan.nn.self_attention",
    "AdaptiveSpan": "adaspan.nn.span",
    "DataConfig": "adaspan.config.kinds.data",
    "DynamicSpan": "adaspan.nn.span",
    "Evaluation": "adaspan.train.rows",
    "FixedSpan": "adaspan.nn.span",
    "Implementation": "adaspan.nn.attention",
    "OptimizerConfig": "adaspan.config.kinds.optimizer",
    "RunError": "adaspan.errors",
    "Span": "adaspan.nn.span",
    "SpanConfig": "adaspan.config.kinds.span",
    "Transformer": "adaspan.nn.transformer",
    "UserError": "adaspan.errors",
    "Vocabulary": "adaspan.data.vocabulary",
    "added_key": "adaspan.config.keys",
    "attend": "adaspan.nn.attention",
    "load": "adaspan.train.load",
    "read": "adaspan.runs.read",
    "register": "adaspan.config.kinds.registry",
    "soft_mask": "adaspan.nn.span",
}
__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*_MODULES, *(name for name in globals() if name.startswith("__"))])
