"""Every implementation, the oracle first: against the printed formula, and at its edges."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from adaspan.nn import attention
from adaspan.nn.span import soft_mask

Attend = Callable[..., Tensor]


@pytest.fixture(params=attention.ANYWHERE)
def attend(request: pytest.FixtureRequest) -> Attend:
    return partial(attention.attend, implementation=request.param)


def inputs(
    batch: int = 2, heads: int = 3, block: int = 5, cached: int = 7, window: int = 6, dim: int = 4
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    shape = (batch, heads, cached + block, dim)
    return (
        torch.randn(batch, heads, block, dim, dtype=torch.float64),
        torch.randn(shape, dtype=torch.float64),
        torch.randn(shape, dtype=torch.float64),
        torch.randn(window, dim, dtype=torch.float64),
    )


def one_query(
    q: Tensor, k: Tensor, v: Tensor, position: Tensor, at: int, z: float | None, ramp: float
) -> Tensor:
    """Equations 1 to 4, in loops: the query at position `at` of one head."""
    weights, values = [], []
    for x in range(min(at, len(position))):
        key = at - 1 - x
        score = (q @ k[key] + q @ position[x]) / math.sqrt(len(q))
        mask = 1.0 if z is None else min(max((ramp + z - x) / ramp, 0), 1)
        weights.append(mask * math.exp(score))
        values.append(v[key])
    total = sum(weights)
    output = torch.zeros_like(q)
    for weight, value in zip(weights, values, strict=True):
        output += weight / total * value
    return output


@pytest.mark.slow
@pytest.mark.parametrize("spans", [None, [0.0, 2.5, 30.0]])
@pytest.mark.parametrize("cached", [0, 2, 7])
def test_every_query_matches_the_printed_formula(
    spans: list[float] | None, cached: int, attend: Attend
) -> None:
    q, k, v, position = inputs(cached=cached)
    span = None if spans is None else torch.tensor(spans, dtype=torch.float64).unsqueeze(-1)
    output = attend(q, k, v, position, span=span, ramp=3.0)
    for b in range(2):
        for h in range(3):
            for i in range(5):
                z = None if spans is None else spans[h]
                expected = one_query(q[b, h, i], k[b, h], v[b, h], position, cached + i, z, 3.0)
                torch.testing.assert_close(output[b, h, i], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_masking_the_softmax_and_renormalising_gives_the_same(attend: Attend) -> None:
    q, k, v, position = inputs(heads=1, block=1, cached=6, window=6)
    span = torch.tensor([[1.5]], dtype=torch.float64)
    scores = (q @ k.transpose(-1, -2))[..., :6] + (q @ position.T).flip(-1)
    weights = (scores / 2).softmax(-1) * soft_mask(torch.arange(6).flip(0), span, 3.0)
    expected = (weights / weights.sum(-1, keepdim=True)) @ v[:, :, :6]
    torch.testing.assert_close(attend(q, k, v, position, span=span, ramp=3.0), expected)


def test_gradients_of_everything_and_of_the_span(attend: Attend) -> None:
    q, k, v, position = (
        x.requires_grad_() for x in inputs(batch=1, heads=2, block=3, cached=4, window=5)
    )
    span = torch.tensor([[0.3], [1.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda q, k, v, p, z: attend(q, k, v, p, span=z, ramp=2.0), (q, k, v, position, span)
    )


def test_gradients_of_a_span_for_each_token(attend: Attend) -> None:
    q, k, v, position = inputs(batch=2, heads=2, block=3, cached=4, window=5)
    span = (torch.rand(2, 2, 3, dtype=torch.float64) * 3 + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: attend(q, k, v, position, span=z, ramp=2.0), span)


def test_gradient_of_the_span_matches_the_closed_form(attend: Attend) -> None:
    # dL/dz = (1/R) sum over z <= x <= z + R of u (g - delta), where
    # u = exp(s) / sum m exp(s), g = dO.v, delta = dO.O.
    q, k, v, position = inputs(batch=1, heads=1, block=1, cached=8, window=8)
    span = torch.tensor([[2.6]], dtype=torch.float64, requires_grad=True)
    output = attend(q, k, v, position, span=span, ramp=3.0)
    gradient_out = torch.randn_like(output)
    (gradient,) = torch.autograd.grad(output, span, gradient_out)
    x = torch.arange(8, dtype=torch.float64)
    scores = ((q @ k.transpose(-1, -2))[..., :8].flip(-1) + q @ position.T) / 2
    exponentials = scores.exp()
    mask = soft_mask(x, span.detach(), 3.0)
    u = exponentials / (exponentials * mask).sum()
    g = (gradient_out @ v[:, :, :8].flip(2).transpose(-1, -2)).squeeze()
    delta = (gradient_out * output.detach()).sum()
    on_ramp = (x >= 2.6) & (x <= 5.6)
    expected = (u.squeeze() * (g - delta))[on_ramp].sum() / 3
    assert gradient.item() == pytest.approx(expected.item(), rel=1e-10)


def test_a_query_without_history_gives_zeros_and_no_gradient(attend: Attend) -> None:
    q, k, v, position = (x.requires_grad_() for x in inputs(cached=0))
    span = torch.zeros(3, 1, dtype=torch.float64, requires_grad=True)
    output = attend(q, k, v, position, span=span, ramp=2.0)
    assert torch.all(output[:, :, 0] == 0)
    gradients = torch.autograd.grad(output[:, :, 0].sum(), (q, k, v, position, span))
    assert all(torch.all(gradient == 0) for gradient in gradients)
    assert output.isfinite().all()


def test_no_query_sees_itself_or_the_future(attend: Attend) -> None:
    q, k, v, position = inputs()
    v.requires_grad_()
    output = attend(q, k, v, position)
    for i in range(5):
        (gradient,) = torch.autograd.grad(output[:, :, i].sum(), v, retain_graph=True)
        assert torch.all(gradient[:, :, 7 + i :] == 0)
        assert torch.all(gradient[:, :, 7 + i - 1] != 0)


def test_nothing_beyond_the_window_is_seen(attend: Attend) -> None:
    q, k, v, position = inputs(cached=9, window=4)
    v.requires_grad_()
    (gradient,) = torch.autograd.grad(attend(q, k, v, position)[:, :, 0].sum(), v)
    assert torch.all(gradient[:, :, :5] == 0)
    assert torch.all(gradient[:, :, 5:9] != 0)


def test_keys_that_the_mask_hides_can_be_trimmed_without_a_trace(attend: Attend) -> None:
    q, k, v, position = inputs(cached=9, window=9)
    span = torch.tensor([[0.0], [0.4], [1.9]], dtype=torch.float64)
    whole = attend(q, k, v, position, span=span, ramp=2.0)
    trimmed = attend(q, k[:, :, 5:], v[:, :, 5:], position[:4], span=span, ramp=2.0)
    torch.testing.assert_close(trimmed, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("autocast", [False, True])
def test_keys_positions_and_persistent_ones_may_be_of_another_precision(
    autocast: bool, attend: Attend
) -> None:
    """As where rotary embeddings make float32 queries and keys, and parameters stay float32."""
    q, k, v, position = (x.float() for x in inputs())
    persistent = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    expected = attend(q, k, v, position, persistent=persistent)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        for low in ([q], [k], [v], [q, k, v]):
            mixed = [x.bfloat16() if any(x is one for one in low) else x for x in (q, k, v)]
            output = attend(*mixed, position, persistent=persistent)
            assert output.dtype == mixed[2].dtype
            torch.testing.assert_close(output.float(), expected, rtol=0.1, atol=0.1)


def test_softmax_and_mask_are_float32_in_bfloat16(attend: Attend) -> None:
    q, k, v, position = (x.bfloat16() for x in inputs())
    span = torch.full((3, 1), 1.5)
    output = attend(q, k, v, position, span=span, ramp=2.0)
    assert output.dtype == torch.bfloat16
    exact = attend(*(x.double() for x in (q, k, v, position)), span=span.double(), ramp=2.0)
    assert (output.double() - exact).abs().max() < 0.05


def test_huge_scores_do_not_overflow(attend: Attend) -> None:
    q, k, v, position = inputs()
    span = torch.zeros(3, 1, dtype=torch.float64)
    output = attend(1e4 * q, k, v, position, span=span, ramp=2.0)
    assert output.isfinite().all()


@pytest.mark.slow
def test_dropout_keeps_the_mean(attend: Attend) -> None:
    q, k, v, position = inputs(batch=1, heads=1)
    torch.manual_seed(0)
    mean = torch.stack([attend(q, k, v, position, dropout=0.3) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, attend(q, k, v, position), rtol=0, atol=0.08)


@pytest.mark.parametrize("window", [None, 4])
def test_without_position_embeddings_only_contents_are_compared(
    attend: Attend, window: int | None
) -> None:
    q, k, v, _ = inputs(cached=3)
    span = torch.tensor([[0.4], [1.9], [30.0]], dtype=torch.float64)
    no_position = torch.zeros(window or 7, 4, dtype=torch.float64)  # 7: all past keys
    expected = attend(q, k, v, no_position, span=span, ramp=2.0)
    assert torch.equal(attend(q, k, v, window=window, span=span, ramp=2.0), expected)


def test_gradients_without_position_embeddings(attend: Attend) -> None:
    q, k, v, _ = (x.requires_grad_() for x in inputs(batch=1, heads=2, block=3, cached=4))
    span = torch.tensor([[0.3], [1.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda q, k, v, z: attend(q, k, v, window=5, span=z, ramp=2.0), (q, k, v, span)
    )


def test_rotary_positions_are_the_callers_own(attend: Attend) -> None:
    """A model that turns its queries and keys: the scores are those of the turned ones."""
    q, k, v, _ = inputs(heads=1, block=1, cached=6)
    angles = torch.arange(7, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.1])

    def turned(x: Tensor, angle: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)

    q, k = turned(q, angles[-1:]), turned(k, angles)
    weights = ((q @ k.transpose(-1, -2))[..., :6] / 2).softmax(-1)
    torch.testing.assert_close(attend(q, k, v), weights @ v[:, :, :6])
