"""From a configuration to the model and optimizer that it describes.

What a kind gives is checked here, for it may be a user's own: each mistake is one line.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from adaspan.config.extensions import extension_errors_as_one_line
from adaspan.config.kinds.contract import method_of
from adaspan.config.kinds.optimizer import OptimizerConfig
from adaspan.config.kinds.registry import KINDS, extension_of
from adaspan.config.kinds.span import SpanConfig
from adaspan.config.schema import ModelConfig, RunConfig
from adaspan.data import Vocabulary
from adaspan.errors import KindError, UserError, in_words
from adaspan.nn.attention import IMPLEMENTATIONS, why_unfit
from adaspan.nn.checks import ContractError
from adaspan.nn.flops import Shape, decoding_flops
from adaspan.nn.span import Span
from adaspan.nn.transformer import Transformer
from adaspan.places import EXTENDING, shown
from adaspan.train.attention import implementation_of


def check_clusters(model: ModelConfig, vocabulary: Vocabulary) -> None:
    """Refuse clusters of words that the data do not allow.

    Raises:
        UserError: names the cutoffs and what the data have.
    """
    size, unit = len(vocabulary), vocabulary.unit
    if model.cutoffs and unit != "words":
        raise UserError(
            f"model.cutoffs={model.cutoffs}: only words are numbered by how rare they are, the "
            f"data have {unit}; model.cutoffs=[] has no clusters"
        )
    if model.cutoffs and model.cutoffs[-1] >= size:
        raise UserError(
            f"model.cutoffs={model.cutoffs}: must be below {size}, the words of the data; choose "
            "smaller ones, or model.cutoffs=[]"
        )


def check_attention(attention: str, model: ModelConfig, device: torch.device) -> None:
    """Refuse an attention that cannot compute the model's heads on this device.

    Raises:
        UserError: says what it lacks, and what takes what fits.
    """
    reason = why_unfit(attention, device, model.dim // model.heads)
    if reason is not None:
        raise UserError(
            f"train.attention={attention}: {reason}; train.attention=auto takes what fits"
        )


def choose_attention(
    attention: str, model: ModelConfig, device: torch.device, precision: torch.dtype
) -> str:
    """What computes it in training: `auto` is a GPU's kernels where they fit, with products in
    bfloat16, and what takes any device elsewhere. In float32 the kernels take longer.
    """
    fit = device.type == "cuda" and why_unfit("triton", device, model.dim // model.heads) is None
    return "triton" if attention == "auto" and fit and precision == torch.bfloat16 else attention


def make_model(
    model: ModelConfig, span: SpanConfig, vocabulary_size: int, attention: str = "auto"
) -> Transformer:
    """The model that a configuration describes, freshly initialised from torch's random state.

    Raises:
        KindError: a kind builds something else than it must.
    """
    if attention in KINDS["attention"]:
        IMPLEMENTATIONS[attention] = implementation_of(attention)
    span = span.in_model(model)
    with kind_errors_as_one_line():
        transformer = Transformer(
            vocabulary_size=vocabulary_size,
            layers=model.layers,
            dim=model.dim,
            heads=model.heads,
            ffn_dim=model.ffn_dim,
            make_span=lambda layer: _span(model, span, layer),
            dropout=model.dropout,
            embedding_dropout=model.embedding_dropout,
            attention=attention,
            persistent=model.persistent,
            cutoffs=model.cutoffs,
            divisor=model.divisor,
            tied=model.tied,
        )
        span.connect(transformer.spans)
        return transformer


def own_kinds(config: RunConfig) -> list[str]:
    """What of a model a user's own code computes, as it was chosen: `span=shared`."""
    chosen = [
        ("span", "span", config.span.kind),
        ("attention", "train.attention", config.train.attention),
    ]
    return [
        f"{key}={kind}"
        for group, key, kind in chosen
        if kind in KINDS[group] and extension_of(group, kind)
    ]


def shape_of(config: ModelConfig, model: Transformer) -> Shape:
    """What of a model decides its cost."""
    return Shape(
        layers=config.layers,
        dim=config.dim,
        heads=config.heads,
        ffn_dim=config.ffn_dim,
        vocabulary_size=model.vocabulary_size,
        persistent=config.persistent,
        span_macs=model.spans[0].macs_per_token(),
    )


def flops_of_one_token(config: ModelConfig, model: Transformer) -> int:
    """FLOPs that a token of a long text takes, read with keys and values cached: where spans differ
    from token to token, at most.
    """
    token_11 = torch.zeros(1, 1, dtype=torch.long, device=model.position_SK.device)
    return decoding_flops(
        shape_of(config, model),
        past=model.limit,
        groups=[cache.groups for cache in model.key_value_caches()],
        attention=IMPLEMENTATIONS[model.attention],
        device=token_11.device,
        io_macs=model.io_macs(token_11, None),
    )


def _span(model: ModelConfig, config: SpanConfig, layer: int) -> Span:
    span: object = config.build(dim=model.dim, heads=model.heads, layer=layer)
    method = method_of(config, "build")
    if not isinstance(span, Span):
        raise KindError(f"{method}: must return an adaspan.Span, returned {in_words(span)}")
    if span.limit != config.limit:
        raise KindError(
            f"{method}: must return a span of span.limit={config.limit}, returned one whose limit "
            f"is {span.limit}"
        )
    return span


def make_optimizer(config: OptimizerConfig, model: Transformer) -> torch.optim.Optimizer:
    """The optimizer of all of a model's parameters.

    Raises:
        KindError: the kind builds something else than it must.
    """
    optimizer: object = config.build(list(model.parameters()))
    method = method_of(config, "build")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise KindError(
            f"{method}: must return a torch.optim.Optimizer, returned {in_words(optimizer)}"
        )
    parameter_ids = {
        id(parameter) for group in optimizer.param_groups for parameter in group["params"]
    }
    left_out = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and id(parameter) not in parameter_ids
    ]
    if left_out:
        raise KindError(
            f"{method}: must give the optimizer all parameters; {len(left_out)} would not learn, "
            f"the first is {left_out[0]}"
        )
    try:
        inspect.signature(optimizer.step).bind()
    except TypeError:
        raise KindError(
            f"{method}: {type(optimizer).__name__}.step must need no closure: it is called by "
            "itself, once an update"
        ) from None
    return optimizer


@contextmanager
def kind_errors_as_one_line() -> Iterator[None]:
    """Raise `KindError` where a span or an attention turns out not to be what it must be, and
    `ExtensionError` where a user's own code raises an exception.
    """
    with extension_errors_as_one_line():
        try:
            yield
        except ContractError as error:
            raise KindError(f"{error}; {shown(EXTENDING)} says what it must give") from error
