"""From a configuration to the model that it describes."""

from __future__ import annotations

from adaspan.config.kinds.registry import KINDS
from adaspan.config.kinds.span import SpanConfig
from adaspan.config.schema import ModelConfig
from adaspan.nn.attention import IMPLEMENTATIONS
from adaspan.nn.transformer import Transformer


def make_model(
    model: ModelConfig, span: SpanConfig, vocabulary_size: int, attention: str = "auto"
) -> Transformer:
    """The model that a configuration describes, freshly initialised from torch's random state."""
    if attention in KINDS["attention"]:
        IMPLEMENTATIONS[attention] = KINDS["attention"][attention]()
    return Transformer(
        vocabulary_size=vocabulary_size,
        layers=model.layers,
        dim=model.dim,
        heads=model.heads,
        ffn_dim=model.ffn_dim,
        make_span=lambda layer: span.build(dim=model.dim, heads=model.heads, layer=layer),
        dropout=model.dropout,
        embedding_dropout=model.embedding_dropout,
        attention=attention,
    )
