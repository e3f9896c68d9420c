"""What a head of a model looks at: its attention weights over a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adaspan.nn.attention import BUILT_IN
from adaspan.nn.attention.persistent import persistent_weights
from adaspan.nn.attention.reference import attention_weights
from adaspan.nn.checks import check_index
from adaspan.nn.multi_head_attention import MultiHeadAttention
from adaspan.nn.token_ids import ids_of

if TYPE_CHECKING:
    from adaspan.nn.transformer import Transformer


@torch.no_grad()
def attention_of(
    model: Transformer, tokens: Sequence[int] | Tensor, layer: int, head: int
) -> Tensor:
    """See `Transformer.attention_of`."""
    tokens_T = ids_of(tokens, model.vocabulary_size).to(model.position_SK.device)
    check_index(len(model.layers), layer=layer)
    attention = model.typed_layers()[layer].attention
    check_index(attention.heads, head=head)
    hidden_BMD = _input_of(model, layer, tokens_T.unsqueeze(0))
    return _weights_of(attention, hidden_BMD, model.position_SK[: len(tokens_T)])[0, head]


def _input_of(model: Transformer, layer: int, tokens_BM: Tensor) -> Tensor:
    """Hidden states that a layer gets from texts without a past, without dropout."""
    with model.without_dropout():
        hidden_BMD: Tensor = model.embedding(tokens_BM)
        plan = model.plan(*tokens_BM.shape)
        for below, groups in zip(model.typed_layers()[:layer], plan, strict=False):
            cache_BCD = hidden_BMD[:, :0]
            hidden_BMD = below(hidden_BMD, cache_BCD, model.position_SK, groups).hidden_BMD
        return hidden_BMD


def _weights_of(attention: MultiHeadAttention, hidden_BMD: Tensor, position_SK: Tensor) -> Tensor:
    """Attention weights (B, H, M, M) over a block without a cache, by the printed formula.

    With persistent memory a token's weights sum to what that leaves for the text, less than 1.

    Args:
        attention: of a layer.
        hidden_BMD: hidden states from the start of their streams.
        position_SK: an embedding for every distance up to the limit.

    Raises:
        ValueError: the implementation is not built in, so that its weights may be others.
    """
    name = attention.resolved()
    if name not in BUILT_IN:
        raise ValueError(
            f"attention={name}: its weights are not known, those of {' and '.join(BUILT_IN)} are"
        )
    shape = (*hidden_BMD.shape[:2], attention.heads, attention.head_dim)
    query_BHMK, key_BHMK = (
        project(hidden_BMD).view(shape).transpose(1, 2)
        for project in (attention.query, attention.key)
    )
    span, ramp = attention.spans(hidden_BMD), attention.span.ramp
    if span is not None:
        weights_BHMM, log_sum_BHM = attention_weights(
            query_BHMK, key_BHMK, position_SK, len(position_SK), span, ramp
        )
    else:  # each head may have a hard window of its own
        of_heads = [
            attention_weights(query_B1MK, key_B1MK, position_SK[:window], window, None, None)
            for query_B1MK, key_B1MK, window in zip(
                query_BHMK.split(1, dim=1),
                key_BHMK.split(1, dim=1),
                _hard_windows(attention, len(position_SK)),
                strict=True,
            )
        ]
        weights_BHMM, log_sum_BHM = (torch.cat(p, dim=1) for p in zip(*of_heads, strict=True))
    if attention.persistent is None:
        return weights_BHMM
    key_HPK, _ = attention.persistent()
    return weights_BHMM * persistent_weights(log_sum_BHM, query_BHMK, key_HPK)[0]


def _hard_windows(attention: MultiHeadAttention, most: int) -> list[int]:
    """Past keys that each head sees without a mask, of so many at most."""
    current = attention.span.current()
    windows = [most] * attention.heads if current is None else current.tolist()
    return [min(most, int(window)) for window in windows]
