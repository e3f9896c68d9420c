"""The whole transformer: embeddings, layers, one cache a layer, log-probabilities.

Under the names of the public code: `Transformer` is TransformerSeq.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from adaspan.nn.adaptive_io import AdaptiveEmbedding, AdaptiveSoftmax, Clusters
from adaspan.nn.attention.groups import Group
from adaspan.nn.cache import KeyValueCache, next_cache
from adaspan.nn.checks import Shapes, check_counts, check_joins, check_probability
from adaspan.nn.eager import eager
from adaspan.nn.generation import check_sampling, generate
from adaspan.nn.heads import spans_of_heads
from adaspan.nn.inspection import attention_of
from adaspan.nn.layers import TransformerLayer
from adaspan.nn.multi_head_attention import Attended, MultiHeadAttention
from adaspan.nn.output import Softmax
from adaspan.nn.span import Span, cache_length
from adaspan.nn.token_ids import check_blocks, id_errors_as_one_line, ids_of

# For each layer: which heads share which window; None if only the layer's input tells.
Plan = Sequence[Sequence[Group] | None]


class Output(NamedTuple):
    """What a forward pass over one block gives."""

    log_probs_BMV: Tensor | None  # of the next token, float32 or wider; None if given targets
    caches: list[Tensor]  # one (B, C, D) a layer, for the next block; none where they are kept
    penalty: Tensor  # the span loss, summed over layers
    mean_spans: list[Tensor]  # one (H,) a layer, in tokens: means over the block; none if fixed
    nats_BM: Tensor | None  # the cost of each target; None if given none
    groups: list[Sequence[Group]]  # for each layer: which heads were computed with which window


class Transformer(nn.Module):
    """Reads a stream block by block and gives the log-probabilities of each next token.

    Args:
        vocabulary_size: V.
        layers, dim, heads, ffn_dim: the shape; ffn_dim 0: layers without feed-forward.
        make_span: makes the span of a layer, given which one: 0 is the lowest. All are of one kind
            and share the limit S.
        dropout: on attention weights and inside the feed-forward.
        embedding_dropout: on the embedded tokens and before the output layer.
        attention: implementation, see `adaspan.nn.attention.attend`.
        persistent: P, learned keys and values per head that every token sees; 0: none.
        cutoffs: where clusters of rarer words begin, whose vectors are narrower, see
            `adaspan.nn.adaptive_io`; empty: one width for all.
        divisor: by which each cluster is narrower than the one before.
        tied: whether the output layer shares the vectors of such an embedding.

    Raises:
        ValueError: a value is out of its range, or a span does not fit.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        layers: int,
        dim: int,
        heads: int,
        ffn_dim: int,
        make_span: Callable[[int], Span],
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        attention: str = "auto",
        persistent: int = 0,
        cutoffs: Sequence[int] = (),
        divisor: int = 4,
        tied: bool = False,
    ) -> None:
        super().__init__()
        check_counts(vocabulary_size=vocabulary_size, layers=layers, dim=dim)
        check_counts(0, ffn_dim=ffn_dim)
        check_probability(embedding_dropout=embedding_dropout)
        self.vocabulary_size = vocabulary_size
        self.dim = dim
        self.embedding: Any  # an nn.Embedding unless there are cutoffs
        if cutoffs:
            clusters = Clusters(vocabulary_size, dim, cutoffs, divisor)
            self.embedding = AdaptiveEmbedding(clusters)
        elif tied:
            raise ValueError("tied=True: works only with cutoffs")
        else:
            self.embedding = nn.Embedding(vocabulary_size, dim)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(
                MultiHeadAttention(dim, heads, make_span(layer), dropout, attention, persistent),
                dim,
                ffn_dim,
                dropout,
            )
            for layer in range(layers)
        )
        self.limit = self.spans[0].limit
        if any(span.limit != self.limit for span in self.spans):
            raise ValueError(f"limit: must be the same in all layers, {self.limit} in the first")
        self.position_SK = nn.Parameter(torch.randn(self.limit, dim // heads))
        self.output = (
            AdaptiveSoftmax(self.embedding.clusters, self.embedding if tied else None)
            if isinstance(self.embedding, AdaptiveEmbedding)
            else Softmax(dim, vocabulary_size)
        )

    @property
    def attention(self) -> str:
        """The implementation of attention: what `auto` stands for."""
        return self.typed_layers()[0].attention.resolved()

    @property
    def spans(self) -> list[Span]:
        """The span of each layer."""
        return [layer.attention.span for layer in self.typed_layers()]

    def typed_layers(self) -> list[TransformerLayer]:
        """The layers, the lowest first."""
        return cast(list[TransformerLayer], list(self.layers))

    def plan(self, batch: int, block: int) -> Plan:
        """Which heads share which window now, to read B streams by M tokens.

        Waits for the device once, for the spans of all layers; make it once a step and pass it on.
        A layer whose spans differ from token to token decides for each block, and waits then.
        """
        currents = [span.current() for span in self.spans]
        known = [current for current in currents if current is not None]
        each = iter(torch.stack(known).tolist() if known else [])
        lengths = [None if current is None else next(each) for current in currents]
        return self.plan_for(lengths, lengths, batch, block)

    def plan_for(
        self,
        longest: Sequence[Sequence[float] | None],
        shortest: Sequence[Sequence[float] | None],
        batch: int,
        block: int,
    ) -> Plan:
        """`plan` for spans that lie between two lengths, of each head or None for a layer whose
        input alone tells.
        """
        return [
            None if most is None else layer.attention.groups(most, batch, block, least)
            for layer, most, least in zip(self.typed_layers(), longest, shortest, strict=True)
        ]

    def receptive_field(self) -> int:
        """Past tokens that a prediction depends on now, through all layers."""
        return sum(self.reaches(self.plan(1, 1)))  # the same for any batch and block

    def reaches(self, plan: Plan) -> list[int]:
        """Past keys that each layer's longest window may hold."""
        return [max(group.window for group in groups) if groups else self.limit for groups in plan]

    def empty_caches(self, batch: int) -> list[Tensor]:
        """The state at the start of a stream: no history."""
        empty = self.position_SK.new_empty(batch, 0, self.dim)
        return [empty for _ in self.layers]

    def key_value_caches(self, batch: int = 1, block: int = 1) -> list[KeyValueCache]:
        """Empty caches for weights that do not change: keys and values are computed once and kept.

        They suit reading B streams by M tokens, without gradients. Waits for the device once.
        """
        heads = tuple(range(self.typed_layers()[0].attention.heads))
        as_far_as_any = [Group(heads, self.limit, unmasked=0)]
        return [KeyValueCache(groups or as_far_as_any) for groups in self.plan(batch, block)]

    @eager
    def forward(
        self,
        tokens_BM: Tensor,
        caches: Sequence[Tensor] | Sequence[KeyValueCache] | None = None,
        plan: Plan | None = None,
        targets_BM: Tensor | None = None,
    ) -> Output:
        """Read the next block of B streams.

        Args:
            tokens_BM: token ids, int64 or int32.
            caches: what the block before returned; None at the start of a stream. A layer's cache
                holds its past inputs, detached; it may be shorter than a span, but never holds
                made-up history. Or `key_value_caches`, kept by the caller: the block is added to
                them in place.
            plan: `plan`, if known already. Cached keys and values have their own.
            targets_BM: ids of the tokens to come, int64 or int32, where only their cost is wanted.

        Raises:
            ValueError: a shape or a type does not fit, or a token on the CPU is out of range; or
                gradients are asked for from cached keys and values.
        """
        check_blocks(self.position_SK.device, tokens=tokens_BM, targets=targets_BM)
        caches = self.empty_caches(len(tokens_BM)) if caches is None else caches
        plan = self._plan_for(tokens_BM, caches, plan)
        reaches = self.reaches(plan)
        position_SK = self.position_SK[: max(reaches)]  # further back every mask is exactly 0
        with id_errors_as_one_line("tokens", tokens_BM, self.vocabulary_size):
            hidden_BMD: Tensor = self.embedding(tokens_BM)
        hidden_BMD = self.embedding_dropout(hidden_BMD)
        penalty = torch.zeros((), device=hidden_BMD.device)
        next_caches, spans, executed = [], [], []
        for layer, cache, groups, reach in zip(
            self.typed_layers(), caches, plan, reaches, strict=True
        ):
            if isinstance(cache, Tensor):
                Shapes(B=len(tokens_BM), D=hidden_BMD.shape[-1]).check("cache", cache, "BCD")
                check_joins("cache", cache, hidden_BMD)
                next_caches.append(next_cache(cache, hidden_BMD, cache_length(reach, self.limit)))
            attended: Attended = layer(hidden_BMD, cache, position_SK, groups)
            hidden_BMD, span = attended.hidden_BMD, attended.span
            executed.append(attended.groups)
            penalty = penalty + layer.attention.penalty(span)
            if span is not None:
                spans.append(spans_of_heads(span.detach()).mean(-1))
        hidden_BMD = self.embedding_dropout(hidden_BMD)
        log_probs_BMV = self.output(hidden_BMD) if targets_BM is None else None
        nats_BM = None
        if targets_BM is not None:
            with id_errors_as_one_line("targets", targets_BM, self.vocabulary_size):
                nats_BM = self.output.nats(hidden_BMD, targets_BM)
        return Output(log_probs_BMV, next_caches, penalty, spans, nats_BM, executed)

    def _plan_for(
        self,
        tokens_BM: Tensor,
        caches: Sequence[Tensor] | Sequence[KeyValueCache],
        plan: Plan | None,
    ) -> Plan:
        """The plan by which a block is read, as long as the caches."""
        kept = [cache for cache in caches if isinstance(cache, KeyValueCache)]
        if kept:
            plan = [cache.groups for cache in kept]
            if torch.is_grad_enabled():
                raise ValueError(
                    "caches: keys and values are cached without gradients; torch.no_grad()"
                )
        elif plan is None:
            plan = self.plan(*tokens_BM.shape)
        for name, parts in (("caches", caches), ("plan", plan)):
            if len(parts) != len(self.layers):
                wanted = f"must be {len(self.layers)}, one per layer"
                raise ValueError(f"{name}: {wanted}, are {len(parts)}")
        return plan

    def io_macs(self, tokens_BM: Tensor, targets_BM: Tensor | None) -> int:
        """Multiply-accumulates of embedding and output layer, forward.

        They depend on how rare the tokens are where there are cutoffs; waits for these then.
        """
        embedded = (
            self.embedding.macs(tokens_BM) if isinstance(self.embedding, AdaptiveEmbedding) else 0
        )
        return embedded + self.output.macs(tokens_BM.numel(), targets_BM)

    def generate(
        self,
        tokens: Sequence[int] | Tensor,
        count: int | None = None,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        seed: int = 1,
    ) -> Iterator[int]:
        """Continue a text, token by token, each as soon as it is known.

            print(vocabulary.decode(model.generate(vocabulary.encode("import os"), 100)))

        Keys and values are cached as far as each head sees, so that a token costs the same however
        long the text has become. Dropout is off meanwhile.

        Args:
            tokens: ids of the text so far, at least one.
            count: how many tokens to write; None: without end.
            temperature: below 1 likely tokens become likelier; 0: always the likeliest.
            top_k: choose among so many of the likeliest tokens; None: all.
            top_p: choose among the likeliest tokens that together have this probability.
            seed: of all choices.

        Raises:
            ValueError: a token or value is out of its range.
        """
        check_sampling(temperature, top_k, top_p, seed)
        if count is not None:
            check_counts(0, count=count)
        prompt_T = ids_of(tokens, self.vocabulary_size).to(self.position_SK.device)
        return generate(
            self, prompt_T, count, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )

    def attention_of(self, tokens: Sequence[int] | Tensor, layer: int, head: int) -> Tensor:
        """Attention weights of one head over a text, by the printed formula and without dropout.

        Args:
            tokens: ids of the T tokens of a text, read from its start.
            layer: 0 is the lowest.
            head: of the layer, from 0 on.

        Returns:
            (T, T). Row t holds the weights that token t gives to the tokens before it, which sum to
            1; it never attends to itself. The first token sees nothing: its row is 0. What is given
            to persistent memory is not shown, so that with it rows sum to less than 1.

        Raises:
            ValueError: there is no such layer, head or token; or the attention is one of your own,
                whose weights are not known.
        """
        return attention_of(self, tokens, layer, head)

    @contextmanager
    def without_dropout(self) -> Iterator[None]:
        """Evaluation mode inside the block; afterwards every part has the mode that it had."""
        were_training = [module for module in self.modules() if module.training]
        for module in were_training:
            module.training = False
        try:
            yield
        finally:
            for module in were_training:
                module.training = True

    def spans_for(self, hidden: Sequence[Tensor]) -> list[Tensor | None]:
        """The spans of each layer for hidden states (B, M, D) that it may get; see `Span.forward`.

        Raises:
            ValueError: a shape or a type does not fit.
        """
        return [
            layer.attention.spans(hidden_BMD)
            for layer, hidden_BMD in zip(self.typed_layers(), hidden, strict=True)
        ]

    def current_spans(self) -> Tensor | None:
        """Spans of all heads now, (L, H), in tokens; None if they differ from token to token."""
        spans = [span.current() for span in self.spans]
        known = [span for span in spans if span is not None]
        return torch.stack(known) if len(known) == len(spans) else None

    def compile_parts(self) -> None:
        """Compile what has the same shape in every step. Attention has not: windows are learned."""
        for layer in self.typed_layers():
            if layer.feed_forward is not None:
                layer.feed_forward.compile()

    def clamp_spans_(self) -> None:
        """Put every learned span back into [0, limit]; call after each update."""
        for span in self.spans:
            span.clamp_()

    def note_updates(self, count: int) -> None:
        """Tell the spans how many updates there have been: a penalty may begin after some."""
        for span in self.spans:
            span.note_updates(count)
