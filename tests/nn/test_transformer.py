"""The transformer: blocks and caches, no leaks, and the shapes the paper states."""

from typing import Any

import pytest
import torch
from torch import Tensor

from adaspan.config.kinds.span import (
    AdaptiveSpanConfig,
    DynamicSpanConfig,
    FixedSpanConfig,
    LocalGlobalSpanConfig,
    SpanConfig,
)
from adaspan.config.schema import ModelConfig
from adaspan.nn.attention import ANYWHERE, IMPLEMENTATIONS
from adaspan.nn.attention.groups import Group
from adaspan.nn.multi_head_attention import MultiHeadAttention
from adaspan.nn.span import AdaptiveSpan
from adaspan.nn.transformer import Transformer
from adaspan.train.build import make_model
from tests.conftest import compose_run

ADAPTIVE = AdaptiveSpanConfig(limit=16, ramp=3, loss_coefficient=0.1, initial_fraction=0.21)
FIXED = FixedSpanConfig(limit=16)
DYNAMIC = DynamicSpanConfig(limit=16, ramp=3, loss_coefficient=0.1, initial_bias=-0.5)
LOCAL_GLOBAL = LocalGlobalSpanConfig(limit=16, window=5, local_layers=1)
EVERY_SPAN = pytest.mark.parametrize(
    "span", [ADAPTIVE, FIXED, LOCAL_GLOBAL, DYNAMIC], ids=lambda span: span.kind
)


def small_model(span: SpanConfig) -> Transformer:
    torch.manual_seed(0)
    shape = ModelConfig(layers=3, dim=8, heads=2, ffn_dim=16)
    return make_model(shape, span, vocabulary_size=11).double()


def read(model: Transformer, tokens: Tensor, blocks: list[int]) -> Tensor:
    """Log-probabilities of a text read in blocks of the given sizes."""
    caches, outputs = model.empty_caches(len(tokens)), []
    for block in tokens.split(blocks, dim=1):
        output = model(block, caches)
        caches = output.caches
        outputs.append(output.log_probs_BMV)
    return torch.cat(outputs, dim=1)


@pytest.mark.slow
@EVERY_SPAN
@pytest.mark.parametrize("blocks", [[20, 20], [1] * 40, [7, 13, 1, 19]])
def test_blocks_with_a_cache_equal_one_long_block(span: SpanConfig, blocks: list[int]) -> None:
    model = small_model(span)
    tokens = torch.randint(11, (3, 40))
    torch.testing.assert_close(
        read(model, tokens, blocks), read(model, tokens, [40]), rtol=1e-11, atol=1e-12
    )


@EVERY_SPAN
def test_no_prediction_depends_on_later_tokens(span: SpanConfig) -> None:
    model = small_model(span)
    tokens = torch.randint(11, (1, 30))
    changed = tokens.clone()
    changed[0, 17] = (changed[0, 17] + 1) % 11
    before, after = read(model, tokens, [10] * 3), read(model, changed, [10] * 3)
    assert torch.equal(before[:, :17], after[:, :17])
    assert not torch.allclose(before[:, 17:], after[:, 17:])


@EVERY_SPAN
def test_streams_of_a_batch_do_not_see_each_other(span: SpanConfig) -> None:
    model = small_model(span)
    tokens = torch.randint(11, (4, 20))
    together = read(model, tokens, [10, 10])
    alone = torch.cat([read(model, row, [10, 10]) for row in tokens.split(1)])
    torch.testing.assert_close(together, alone, rtol=1e-11, atol=1e-12)


@EVERY_SPAN
def test_gradients_reach_every_parameter_and_are_finite(span: SpanConfig) -> None:
    model = small_model(span)
    caches = model(torch.randint(11, (2, 16)), model.empty_caches(2)).caches
    output = model(torch.randint(11, (2, 16)), caches)
    (-output.log_probs_BMV.mean() + output.penalty).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@EVERY_SPAN
def test_targets_cost_what_their_log_probabilities_say(span: SpanConfig) -> None:
    """And their gradients are the same, to the bit."""
    model = small_model(span)
    tokens, targets = torch.randint(11, (2, 16)), torch.randint(11, (2, 16))
    parameters = list(model.parameters())
    log_probs = model(tokens).log_probs_BMV
    of_target = -log_probs.gather(-1, targets[..., None]).squeeze(-1)
    expected = torch.autograd.grad(of_target.mean(), parameters, materialize_grads=True)
    output = model(tokens, targets_BM=targets)
    assert output.log_probs_BMV is None
    assert torch.equal(output.nats_BM, of_target)
    found = torch.autograd.grad(output.nats_BM.mean(), parameters, materialize_grads=True)
    assert all(map(torch.equal, found, expected))


def test_caches_carry_no_gradient() -> None:
    model = small_model(ADAPTIVE)
    output = model(torch.randint(11, (2, 16)), model.empty_caches(2))
    assert not any(cache.requires_grad for cache in output.caches)


def test_penalty_sums_the_layers() -> None:
    model = small_model(ADAPTIVE)
    output = model(torch.randint(11, (2, 4)), model.empty_caches(2))
    assert output.penalty.item() == pytest.approx(3 * 0.1 * 16 * 0.21)


def test_fixed_span_is_the_adaptive_model_at_its_limit() -> None:
    fixed = small_model(FIXED)
    full = small_model(AdaptiveSpanConfig(limit=16, ramp=3, loss_coefficient=0, initial_fraction=1))
    full.load_state_dict(fixed.state_dict(), strict=False)
    tokens = torch.randint(11, (2, 40))
    torch.testing.assert_close(read(full, tokens, [10] * 4), read(fixed, tokens, [10] * 4))


@pytest.mark.parametrize("attention", ANYWHERE)
def test_heads_with_windows_of_their_own_see_exactly_these(attention: str) -> None:
    """What lies beyond changes nothing, what lies within does; `attention_of` shows the same."""
    torch.manual_seed(0)
    span = FixedSpanConfig(limit=16, windows=[[3, 9, 3, 16], [1, 1, 1, 1]])
    shape = ModelConfig(layers=1, dim=8, heads=4, ffn_dim=16)
    model = make_model(shape, span, 11, attention).double().eval()
    assert model.reaches(model.plan(1, 8)) == [16]
    tokens = torch.randint(11, (1, 30))
    for head, window in enumerate([3, 9, 3, 16]):
        seen_TT = model.attention_of(tokens[0], layer=0, head=head) > 0
        assert seen_TT.sum(-1).tolist() == [min(t, window) for t in range(30)]
    far = FixedSpanConfig(limit=16, windows=[3, 3, 3, 9])
    near = make_model(shape, far, 11, attention).double().eval()
    near.load_state_dict(model.state_dict())
    outputs = [read(other, tokens, [10] * 3) for other in (model, near)]
    torch.testing.assert_close(outputs[0][:, :4], outputs[1][:, :4], rtol=1e-11, atol=1e-12)
    assert not torch.allclose(outputs[0][:, 9:], outputs[1][:, 9:])


def test_local_layers_come_below_each_global_one() -> None:
    for layers, expected in ((4, [8, 8, 8, 64]), (13, [64] + ([8] * 5 + [64]) * 2)):
        shape = ModelConfig(layers=layers, dim=8, heads=2, ffn_dim=16)
        model = make_model(shape, LocalGlobalSpanConfig(limit=64, window=8), 11)
        assert model.reaches(model.plan(1, 8)) == expected


def test_one_span_for_the_whole_model_is_one_parameter() -> None:
    shape = ModelConfig(layers=3, dim=8, heads=2, ffn_dim=16)
    sizes = {}
    for share in ("head", "layer", "model"):
        span = AdaptiveSpanConfig(16, 3, 0.1, 0.2, share=share)
        model = make_model(shape, span, 11)
        sizes[share] = sum(p.numel() for name, p in model.named_parameters() if "span" in name)
        output = model(torch.randint(11, (2, 4)))
        output.penalty.backward()
        assert output.penalty.item() == pytest.approx(3 * 0.1 * 16 * 0.2)
    assert sizes == {"head": 6, "layer": 3, "model": 1}
    gradient = model.spans[0].get_parameter("fraction").grad
    assert gradient is not None
    assert gradient.item() == pytest.approx(3 * 0.1 * 16)


def test_reaches_follow_each_layers_longest_head() -> None:
    model = small_model(ADAPTIVE)
    with torch.no_grad():
        for span, fractions in zip(model.spans, ([0.0, 0.1], [0.5, 0.2], [1.0, 0.0]), strict=True):
            assert isinstance(span, torch.nn.Module)
            span.fraction.copy_(torch.tensor(fractions))  # type: ignore[operator]
    assert model.reaches(model.plan(1, 8)) == [5, 12, 16]


def test_gradient_of_the_spans_through_the_whole_model() -> None:
    model = small_model(ADAPTIVE)
    tokens, targets = torch.randint(11, (2, 12)), torch.randint(11, (2, 12, 1))
    caches = model(torch.randint(11, (2, 12)), model.empty_caches(2)).caches
    fraction = dict(model.named_parameters())["layers.1.attention.span.fraction"]

    def loss() -> Tensor:
        output = model(tokens, caches)
        return -output.log_probs_BMV.gather(-1, targets).mean() + output.penalty

    (gradient,) = torch.autograd.grad(loss(), fraction)
    for head in range(2):
        values = []
        for shift in (1e-6, -1e-6):
            with torch.no_grad():
                fraction[head] += shift
                values.append(loss().item())
                fraction[head] -= shift
        assert gradient[head].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


@EVERY_SPAN
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_every_attention_gives_the_same_model(span: SpanConfig, dropout: float) -> None:
    """Log-probabilities and the gradient of every parameter, the cached keys' projections too."""
    found = []
    for implementation in ANYWHERE:
        torch.manual_seed(0)
        shape = ModelConfig(layers=3, dim=16, heads=4, ffn_dim=16, dropout=dropout)
        model = make_model(shape, span, 11, implementation).double()
        # The same draws of dropout need the same windows.
        plan = [[Group((0, 1, 2, 3), 16, 0)]] * 3 if dropout else None
        for learned in model.spans:
            if isinstance(learned, AdaptiveSpan):
                learned.fraction.data = torch.tensor([0.02, 0.4, 0.05, 0.93]).double()
        caches = model.empty_caches(2)
        for _ in range(3):
            output = model(torch.randint(11, (2, 12)), caches, plan)
            caches = output.caches
        (output.log_probs_BMV.square().mean() + output.penalty).backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        found.append([output.log_probs_BMV, *gradients])
    for other in found[1:]:
        for ours, theirs in zip(other, found[0], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_heads_with_windows_of_their_own_give_the_same_model() -> None:
    """Several groups, whose heads are neither neighbours nor in order, against one for all."""
    span = AdaptiveSpanConfig(limit=512, ramp=8, loss_coefficient=0.1)
    found, groups = [], []
    for implementation in ANYWHERE:
        torch.manual_seed(0)
        shape = ModelConfig(layers=2, dim=16, heads=4, ffn_dim=16)
        model = make_model(shape, span, 11, implementation).double()
        for learned in model.spans:
            assert isinstance(learned, AdaptiveSpan)
            learned.fraction.data = torch.tensor([0.3, 0.01, 0.9, 0.02]).double()
        caches = model.empty_caches(2)
        for _ in range(3):
            output = model(torch.randint(11, (2, 300)), caches)
            caches = output.caches
        (output.log_probs_BMV.square().mean() + output.penalty).backward()
        groups.append([group.heads for group in model.plan(1, 8)[0] or ()])
        found.append([output.log_probs_BMV, *(parameter.grad for parameter in model.parameters())])
    assert groups == [[(0, 1, 2, 3)], [(2,), (0,), (1, 3)]]
    for ours, theirs in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_heads_are_computed_as_far_as_they_see_themselves() -> None:
    torch.manual_seed(0)
    span = AdaptiveSpanConfig(limit=1024, ramp=3, loss_coefficient=0)
    model = make_model(ModelConfig(layers=1, dim=8, heads=2, ffn_dim=16), span, 11)
    learned = model.spans[0]
    assert isinstance(learned, AdaptiveSpan)
    learned.fraction.data = torch.tensor([1.0, 0.0])
    (groups,) = model.plan(1, 8)
    assert groups is not None
    longest, shortest = groups
    assert (longest.window, shortest.window) == (1024, 4)


def test_caches_follow_the_spans() -> None:
    span = AdaptiveSpanConfig(limit=1024, ramp=3, loss_coefficient=0, initial_fraction=0.1)
    model = make_model(ModelConfig(layers=2, dim=8, heads=2, ffn_dim=16), span, 11)
    learned = model.spans[1]
    assert isinstance(learned, AdaptiveSpan)
    learned.fraction.data = torch.tensor([0.5, 0.1])
    caches = model.empty_caches(1)
    for _ in range(12):
        caches = model(torch.randint(11, (1, 100)), caches).caches
    assert [cache.shape[1] for cache in caches] == [192, 640]  # 106 and 516, and a buffer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "symbols", "millions"),
    [
        ("text8", 27, 38.356),
        ("text8_large", 27, 208.637),
        ("enwik8_small", 205, 6.481),
        ("enwik8", 205, 38.539),
        ("enwik8_large", 205, 208.910),
        ("enwik8_pers_small", 205, 38.502),
        ("enwik8_pers", 205, 114.018),
        ("wiki103_pers", 267_735, 132.494),
    ],
)
def test_the_papers_models_have_the_papers_size(
    experiment: str, symbols: int, millions: float
) -> None:
    config = compose_run(f"experiment={experiment}")
    with torch.device("meta"):
        model = make_model(config.model, config.span, symbols)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.001)


def test_initialisation_is_the_papers() -> None:
    torch.manual_seed(0)
    model = make_model(ModelConfig(layers=1, dim=64, heads=4, ffn_dim=256), ADAPTIVE, 1000)
    assert model.embedding.weight.std().item() == pytest.approx(1, abs=0.02)
    assert model.position_SK.std().item() == pytest.approx(1, abs=0.1)
    weights = dict(model.named_parameters())["layers.0.attention.query.weight"]
    assert weights.abs().max().item() == pytest.approx(64**-0.5, rel=0.01)


@EVERY_SPAN
@pytest.mark.parametrize("layer", [0, 2])
def test_attention_of_a_head_is_what_the_model_attends_with(span: SpanConfig, layer: int) -> None:
    """Values of the layer's input, averaged with these weights, give the layer's own output."""
    model = small_model(span).train()
    tokens = torch.randint(11, (25,))
    attention = model.get_submodule(f"layers.{layer}.attention")
    assert isinstance(attention, MultiHeadAttention)
    seen: list[tuple[Tensor, Tensor]] = []
    handle = attention.register_forward_hook(
        lambda _module, inputs, output: seen.append((inputs[0], output[0]))
    )
    model.eval()(tokens[None])
    handle.remove()
    model.train()
    ((hidden, expected),) = seen
    value_HTK = attention.value(hidden)[0].view(25, 2, 4).transpose(0, 1)
    weights = [model.attention_of(tokens.tolist(), layer, head) for head in range(2)]
    averaged = torch.cat([w @ v for w, v in zip(weights, value_HTK, strict=True)], dim=-1)
    torch.testing.assert_close(attention.output(averaged), expected[0], rtol=1e-11, atol=1e-12)
    assert model.training


def test_attention_of_a_head_is_not_made_up_for_an_attention_of_ones_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(IMPLEMENTATIONS, "own", IMPLEMENTATIONS["reference"])
    shape: dict[str, Any] = {"vocabulary_size": 7, "layers": 1, "dim": 8, "heads": 2, "ffn_dim": 16}
    model = Transformer(**shape, make_span=lambda _: AdaptiveSpan(2, 12), attention="own")
    with pytest.raises(ValueError, match="attention=own: its weights are not known, those of refe"):
        model.attention_of([1, 2, 3], layer=0, head=0)


def test_attention_of_a_head_shows_no_dropout_and_no_future() -> None:
    torch.manual_seed(0)
    shape = ModelConfig(layers=2, dim=8, heads=2, ffn_dim=16, dropout=0.5, embedding_dropout=0.5)
    model = make_model(shape, ADAPTIVE, 11).train()
    tokens = torch.randint(11, (30,))
    weights = model.attention_of(tokens, layer=1, head=0)
    assert torch.equal(weights, model.attention_of(tokens, layer=1, head=0))
    assert torch.all(weights.triu() == 0)
    assert torch.all(weights.tril(-17) == 0)  # beyond the limit
    torch.testing.assert_close(weights[1:].sum(-1), torch.ones(29))
