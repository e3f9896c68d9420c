"""The drop-in layer: what it computes, keeps and learns, for every kind of span."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from adaspan.nn.attention import ANYWHERE
from adaspan.nn.self_attention import AdaptiveSelfAttention
from adaspan.nn.span import AdaptiveSpan, DynamicSpan, FixedSpan, Span
from adaspan.nn.transformer import Transformer

DIM, HEADS, LIMIT = 8, 2, 16


def adaptive(initial_fraction: float = 0.3) -> Span:
    return AdaptiveSpan(HEADS, LIMIT, 3, 0.1, initial_fraction)


def dynamic() -> Span:
    return DynamicSpan(DIM, HEADS, LIMIT, 3, 0.1, initial_bias=-0.5)


def fixed() -> Span:
    return FixedSpan(HEADS, LIMIT)


MakeSpan = Callable[[], Span]
EVERY_SPAN = pytest.mark.parametrize("make_span", [adaptive, dynamic, fixed])


def layer_with(span: Span) -> AdaptiveSelfAttention:
    torch.manual_seed(0)
    return AdaptiveSelfAttention(DIM, HEADS, span.limit, span=span).double()


def read(layer: AdaptiveSelfAttention, hidden: Tensor, blocks: list[int]) -> Tensor:
    outputs, cache = [], None
    for block in hidden.split(blocks, dim=1):
        output, cache = layer(block, cache)
        outputs.append(output)
    return torch.cat(outputs, dim=1)


def test_it_is_the_transformers_own_attention() -> None:
    """The same weights in a one-layer transformer, whose attention's output a hook takes."""
    torch.manual_seed(0)
    model = Transformer(
        vocabulary_size=11,
        layers=1,
        dim=DIM,
        heads=HEADS,
        ffn_dim=4,
        make_span=lambda _: adaptive(),
    )
    layer = AdaptiveSelfAttention(DIM, HEADS, LIMIT, span=adaptive())
    of_model = {
        name.removeprefix("layers.0."): tensor
        for name, tensor in model.state_dict().items()
        if "layers.0.attention." in name or name == "position_SK"
    }
    layer.load_state_dict(of_model)
    outputs: list[Tensor] = []
    module = model.get_submodule("layers.0.attention")
    module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output[0]))
    caches, cache = model.empty_caches(3), None
    for _ in range(5):
        tokens = torch.randint(11, (3, 7))
        output = model(tokens, caches)
        ours, cache = layer(model.embedding(tokens), cache)
        caches = output.caches
        assert torch.equal(ours, outputs[-1])
        assert torch.equal(cache, caches[0])
        assert torch.equal(layer.penalty(), output.penalty)


@EVERY_SPAN
@pytest.mark.parametrize("blocks", [[20, 20], [1] * 40, [7, 13, 1, 19]])
def test_blocks_with_a_cache_equal_one_long_block(make_span: MakeSpan, blocks: list[int]) -> None:
    layer = layer_with(make_span())
    hidden = torch.randn(3, 40, DIM).double()
    torch.testing.assert_close(
        read(layer, hidden, blocks), read(layer, hidden, [40]), rtol=1e-11, atol=1e-12
    )


@EVERY_SPAN
def test_gradients_reach_every_parameter_and_the_input_but_not_the_cache(
    make_span: MakeSpan,
) -> None:
    layer = layer_with(make_span())
    first = torch.randn(2, 20, DIM).double().requires_grad_()
    _, cache = layer(first)
    assert not cache.requires_grad
    second = torch.randn(2, 20, DIM).double().requires_grad_()
    output, _ = layer(second, cache)
    (output.square().mean() + layer.penalty()).backward()
    assert first.grad is None
    assert second.grad is not None
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_penalty_is_that_of_the_span_and_free_for_fixed_ones() -> None:
    layer = AdaptiveSelfAttention(DIM, HEADS, LIMIT, loss_coefficient=0.5, ramp=3)
    span = layer.attention.span
    assert isinstance(span, AdaptiveSpan)
    with torch.no_grad():
        span.fraction.copy_(torch.tensor([0.1, 0.5]))
    layer(torch.randn(1, 3, DIM))
    assert layer.penalty().item() == pytest.approx(0.5 * LIMIT * 0.3)
    free = layer_with(fixed())
    free(torch.randn(1, 3, DIM).double())
    assert free.penalty().item() == 0


def test_penalty_before_any_block_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="call the layer on a block first"):
        AdaptiveSelfAttention(DIM, HEADS, LIMIT).penalty()


@pytest.mark.slow
def test_it_learns_how_far_to_look_and_keeps_no_more_than_that() -> None:
    """The answer lies 40 tokens back. The head begins further out and pays for every token."""
    torch.manual_seed(0)
    dim, limit, block, back = 16, 192, 96, 40
    span = AdaptiveSpan(1, limit, ramp=16, loss_coefficient=3e-4, initial_fraction=0.6)
    layer = AdaptiveSelfAttention(dim, 1, limit, span=span)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    hidden, cache, losses = torch.zeros(4, block, dim), None, []
    for _ in range(100):
        before, hidden = hidden, torch.randn(4, block, dim)
        hidden[..., 0] = 2  # what a query can always find a distance with
        output, cache = layer(hidden, cache)
        wanted = torch.cat([before, hidden], 1)[:, block - back : -back]
        loss = (output - wanted).square().mean()
        (loss + layer.penalty()).backward()
        optimizer.step()
        optimizer.zero_grad()
        layer.clamp_spans_()
        losses.append(loss.item())
    learned = layer.current_spans()
    assert learned is not None
    assert losses[-1] < 0.05 * losses[0]
    assert back - 1 - 16 < learned.item() < back + 10  # 115 at the start
    assert cache is not None
    assert cache.shape[1] == 128  # reach and some buffer, not the limit


@pytest.mark.parametrize("implementation", ANYWHERE)
def test_every_implementation_gives_the_same(implementation: str) -> None:
    torch.manual_seed(0)
    layer = AdaptiveSelfAttention(DIM, HEADS, 300, implementation=implementation).double()
    span = layer.attention.span
    assert isinstance(span, AdaptiveSpan)
    span.fraction.data = torch.tensor([0.02, 0.9]).double()
    other = AdaptiveSelfAttention(DIM, HEADS, 300, implementation="reference").double()
    other.load_state_dict(layer.state_dict())
    hidden = torch.randn(2, 400, DIM).double()
    torch.testing.assert_close(
        read(layer, hidden, [200, 200]), read(other, hidden, [200, 200]), rtol=1e-10, atol=1e-12
    )


def test_a_copy_after_a_block_is_a_layer_of_its_own() -> None:
    """As averages of weights are made: `copy.deepcopy` refuses what hangs on a graph."""
    layer = layer_with(dynamic())
    hidden = torch.randn(2, 5, DIM).double()
    output, _ = layer(hidden)
    twin = copy.deepcopy(layer)
    assert torch.equal(twin(hidden)[0], output)


def test_it_works_inside_a_model_in_bfloat16() -> None:
    torch.manual_seed(0)
    layer = AdaptiveSelfAttention(DIM, HEADS, LIMIT).bfloat16()
    output, cache = layer(torch.randn(2, 5, DIM).bfloat16())
    assert output.dtype == cache.dtype == torch.bfloat16
    (output.float().square().mean() + layer.penalty()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("make_span", [adaptive, dynamic])
def test_spans_learn_in_float32_in_a_model_of_another_precision(make_span: MakeSpan) -> None:
    layer = AdaptiveSelfAttention(DIM, HEADS, LIMIT, span=make_span())
    before = {name: p.clone() for name, p in layer.attention.span.named_parameters()}
    layer.to(torch.bfloat16)
    assert layer.attention.query.weight.dtype == torch.bfloat16
    for name, parameter in layer.attention.span.named_parameters():
        assert torch.equal(parameter, before[name])  # not even rounded
        parameter.grad = torch.full_like(parameter, -1)
    torch.optim.SGD(layer.attention.span.parameters(), lr=1e-4).step()
    for name, parameter in layer.attention.span.named_parameters():
        torch.testing.assert_close(parameter, before[name] + 1e-4)
    layer.double()
    assert {p.dtype for p in layer.parameters()} == {torch.float64}


def test_a_cache_goes_on_where_autocast_ends() -> None:
    torch.manual_seed(0)
    projection, layer = nn.Linear(DIM, DIM), AdaptiveSelfAttention(DIM, HEADS, LIMIT)
    hidden = torch.randn(2, 5, DIM)
    with torch.autocast("cpu", torch.bfloat16):
        _, cache = layer(projection(hidden))
    assert cache.dtype == torch.bfloat16
    output, cache = layer(projection(hidden), cache)
    assert output.dtype == cache.dtype == torch.float32
    assert cache.shape == (2, 10, DIM)


@pytest.mark.parametrize("make_span", [adaptive, dynamic])
def test_checkpointing_keeps_the_penaltys_gradient_or_says_that_it_does_not(
    make_span: MakeSpan,
) -> None:
    layer = layer_with(make_span())
    hidden = torch.randn(2, 20, DIM).double().requires_grad_()

    def gradients(output: Tensor) -> list[Tensor]:
        loss = output.square().mean() + layer.penalty()
        return list(torch.autograd.grad(loss, [hidden, *layer.parameters()]))

    expected = gradients(layer(hidden)[0])
    actual = gradients(checkpoint(layer, hidden, use_reentrant=False)[0])
    torch.testing.assert_close(actual, expected)
    output, _ = checkpoint(layer, hidden, use_reentrant=True)
    with pytest.raises(RuntimeError, match="use_reentrant=False keeps them"):
        gradients(output)
    layer.eval()
    with torch.no_grad():
        layer(hidden)
    assert layer.penalty() > 0  # where nobody trains it is just a number


def test_spans_that_were_never_clamped_are_named() -> None:
    layer = layer_with(adaptive())
    span = layer.attention.span
    assert isinstance(span, AdaptiveSpan)
    for out_of_range, tokens in ((-0.5, "-8"), (-0.125, "-2"), (1.5, "24")):
        span.fraction.data.fill_(0.5)
        span.fraction.data[-1] = out_of_range  # of one head alone
        wanted = rf"span={tokens}: must be 0 to 16; clamp_spans_\(\), to be called"
        with pytest.raises(ValueError, match=wanted):
            layer(torch.randn(2, 5, DIM).double())
        layer.clamp_spans_()
        layer(torch.randn(2, 5, DIM).double())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's own look at it
@pytest.mark.parametrize("make_span", [adaptive, dynamic])
def test_a_compiled_model_compiles_nothing_anew_when_spans_change(make_span: MakeSpan) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
            self.attention = AdaptiveSelfAttention(DIM, HEADS, LIMIT, span=make_span())

        def forward(self, hidden: Tensor) -> Tensor:
            output, _ = self.attention(self.before(hidden))
            return self.after(output)

    compiled = 0

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        nonlocal compiled
        compiled += 1
        return graph.forward

    torch.manual_seed(0)
    model, counts = Model(), []
    fast = torch.compile(model, backend=backend)
    span = model.attention.attention.span
    for fraction in torch.linspace(0, 1, 6):
        next(span.parameters()).data.fill_(fraction)
        hidden = torch.randn(2, 20, DIM)
        torch.testing.assert_close(fast(hidden), model(hidden))
        counts.append(compiled)
    assert counts == [2] * 6  # what stands before the layer, and after it


class SharedSpan(Span):
    """One learned span for all heads: of a `Span`, what must be written is `forward`."""

    def __init__(self) -> None:
        super().__init__(limit=LIMIT, ramp=3)
        self.fraction = nn.Parameter(torch.tensor(0.4))

    def forward(self, hidden_BMD: Tensor) -> Tensor:
        return (self.limit * self.fraction).expand(HEADS, 1)


def test_a_span_of_ones_own_needs_only_forward() -> None:
    layer = layer_with(SharedSpan())
    same = layer_with(adaptive(initial_fraction=0.4))
    hidden = torch.randn(2, 40, DIM).double()
    torch.testing.assert_close(read(layer, hidden, [20, 20]), read(same, hidden, [20, 20]))
    assert layer.penalty().item() == 0
    layer.clamp_spans_()
    layer(hidden)[0].sum().backward()
    assert dict(layer.named_parameters())["attention.span.fraction"].grad is not None
