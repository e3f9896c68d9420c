"""From a configuration to the model that it describes."""

from __future__ import annotations

from adaspan.config.schema import (
    AdaptiveSpanConfig,
    DynamicSpanConfig,
    FixedSpanConfig,
    ModelConfig,
    SpanConfig,
)
from adaspan.nn.span import AdaptiveSpan, DynamicSpan, FixedSpan, Span
from adaspan.nn.transformer import Transformer


def make_model(
    model: ModelConfig, span: SpanConfig, vocabulary_size: int, attention: str = "auto"
) -> Transformer:
    """The model that a configuration describes, freshly initialised from torch's random state."""
    return Transformer(
        vocabulary_size=vocabulary_size,
        layers=model.layers,
        dim=model.dim,
        heads=model.heads,
        ffn_dim=model.ffn_dim,
        make_span=lambda: _make_span(span, model),
        dropout=model.dropout,
        embedding_dropout=model.embedding_dropout,
        attention=attention,
    )


def _make_span(span: SpanConfig, model: ModelConfig) -> Span:
    match span:
        case FixedSpanConfig():
            return FixedSpan(model.heads, span.limit)
        case AdaptiveSpanConfig():
            return AdaptiveSpan(
                model.heads, span.limit, span.ramp, span.loss_coefficient, span.initial_fraction
            )
        case DynamicSpanConfig():
            return DynamicSpan(
                model.dim,
                model.heads,
                span.limit,
                span.ramp,
                span.loss_coefficient,
                span.initial_bias,
            )
    raise AssertionError(f"no span for {span.kind}")
