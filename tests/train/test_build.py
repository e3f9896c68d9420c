"""What a kind of a user's own gets wrong is one line that names it, before it costs anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adaspan.config.kinds.optimizer import OptimizerConfig
from adaspan.config.kinds.registry import KINDS
from adaspan.config.kinds.span import SpanConfig
from adaspan.config.schema import RunConfig
from adaspan.errors import KindError, NonFiniteError, RunError, UserError
from adaspan.nn.attention import IMPLEMENTATIONS
from adaspan.nn.span import Span
from adaspan.train.build import choose_attention, kind_errors_as_one_line
from adaspan.train.distributed import Processes
from adaspan.train.state import best_state_of, resume_from, state_of, take_best
from adaspan.train.trainer import Trainer
from tests.conftest import Launch, compose_run
from tests.train.test_trainer import CPU, corpus_of

LIMIT = 24


class OwnSpan(Span):
    """A learned span a head, whose methods tests replace."""

    def __init__(self, heads: int, limit: int = LIMIT) -> None:
        super().__init__(limit, ramp=4)
        self.fraction = nn.Parameter(torch.full((heads,), 0.5))

    def forward(self, hidden_BMD: Tensor) -> Tensor:
        return self.limit * self.fraction[:, None]


@dataclass
class OwnSpanConfig(SpanConfig):
    kind: str = field(default="own", init=False)
    limit: int = LIMIT
    made: Callable[..., Any] = OwnSpan

    def build(self, *, dim: int, heads: int, layer: int) -> Any:
        return self.made(heads)


@dataclass
class OwnOptimizerConfig(OptimizerConfig):
    kind: str = field(default="own", init=False)
    lr: float = 0.1
    made: Callable[..., Any] = torch.optim.SGD

    def build(self, parameters: Iterable[nn.Parameter]) -> Any:
        return self.made(parameters)


@pytest.fixture
def run(tiny: tuple[str, ...]) -> RunConfig:
    return compose_run(*tiny)


def trainer_of(run: RunConfig) -> Trainer:
    with kind_errors_as_one_line():
        return Trainer(run, corpus_of(run), CPU, Processes())


def train(run: RunConfig, updates: int) -> None:
    with kind_errors_as_one_line():
        trainer = Trainer(run, corpus_of(run), CPU, Processes())
        for _ in range(updates):
            trainer.update()
        trainer.take_losses()


def message(run: RunConfig, updates: int = 0) -> str:
    """How training is refused, when it begins or after some updates."""
    with pytest.raises(KindError) as refused:
        train(run, updates)
    (line,) = str(refused.value).splitlines()
    return line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "line"),
    [
        (lambda heads: None, "must return an adaspan.Span, returned None"),
        (lambda heads: OwnSpan, "must return an adaspan.Span, returned the class OwnSpan"),
        (lambda heads: nn.Linear(2, 2), "must return an adaspan.Span, returned a Linear"),
        (
            lambda heads: OwnSpan(heads, 32),
            "must return a span of span.limit=24, returned one whose limit is 32",
        ),
    ],
)
def test_what_is_no_span_of_its_limit_is_refused(
    run: RunConfig, made: Callable[..., object], line: str
) -> None:
    run.span = OwnSpanConfig(made=made)
    assert message(run) == f"span=own: OwnSpanConfig.build: {line}"


def test_a_span_without_forward_is_refused(run: RunConfig) -> None:
    class Unfinished(Span):
        pass

    run.span = OwnSpanConfig(made=lambda heads: Unfinished(24, ramp=4))
    assert message(run).startswith("Unfinished.forward: is missing; it must give the spans")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "gives", "line"),
    [
        ("forward", lambda z: z, r"forward: span: must have shape \(H=2, 1\) or .*, has \(2,\)"),
        ("forward", lambda z: z[:, None].half(), "forward: span: must be float32 or float64, is"),
        ("forward", lambda z: 5.0, "forward: span: must be a tensor of shape .*, is a float"),
        (
            "forward",
            lambda z: z[:, None] - 100,
            "forward: gives a span of -88 tokens in layer 0 at the start; must be 0 to 24",
        ),
        ("forward", lambda z: z[:, None] * 100, "forward: gives a span of 1200 tokens in layer 0"),
        ("current", lambda z: z[:, None], r"current: span: must have shape \(H=2\), has \(2, 1\)"),
        ("current", lambda z: z - 100, "current: gives a span of -88 tokens in layer 0"),
        ("current", lambda z: z + 100, "current: gives a span of 112 tokens in layer 0"),
        (
            "current",
            lambda z: z / 2,
            "current: gives 6 tokens in layer 0, forward 12; current\\(\\) must be at least",
        ),
        ("penalty", lambda z: z[:, None], r"penalty: must give a number, gave \(2, 1\)"),
        ("penalty", lambda z: "x", "penalty: must give a number, gave str"),
    ],
)
def test_a_span_that_gives_what_it_must_not_is_refused_by_method_and_value(
    run: RunConfig, method: str, gives: Callable[[Tensor], object], line: str
) -> None:
    def made(heads: int) -> Span:
        span = OwnSpan(heads)
        setattr(span, method, lambda *_: gives(LIMIT * span.fraction))
        return span

    run.span = OwnSpanConfig(made=made)
    assert re.match(f"OwnSpan.{line}", message(run, updates=1))


@pytest.mark.parametrize("drift", [-1.0, 1.0])
def test_a_span_that_leaves_its_range_while_it_learns_is_refused_at_the_next_row(
    run: RunConfig, drift: float
) -> None:
    class Drifting(OwnSpan):
        @torch.no_grad()
        def clamp_(self) -> None:
            self.fraction.add_(drift)

    run.span = OwnSpanConfig(made=Drifting)
    assert re.match(
        r"Drifting\.forward: gives a span of (-12|36)\S* tokens in layer 0; clamp_\(\) must",
        message(run, updates=1),
    )


@pytest.mark.parametrize("drift", [-1.0, 1.0])
def test_a_span_that_nothing_brings_back_is_told_what_it_lacks(
    run: RunConfig, drift: float
) -> None:
    class Free(OwnSpan):
        pass

    run.span = OwnSpanConfig(made=Free)
    trainer = trainer_of(run)
    with torch.no_grad():
        for span in trainer.model.spans:
            next(span.parameters()).add_(drift)
    trainer.step = 1
    lacks = r"Free has no clamp_\(\) that brings it back into 0 to 24 after each update"
    with pytest.raises(
        KindError, match=rf"forward: gives a span of \S+ tokens in layer 0; {lacks}"
    ):
        trainer.take_losses()
    with (
        pytest.raises(KindError, match=r"Free.forward: span=.*; Free has no clamp_\(\) that"),
        kind_errors_as_one_line(),
    ):
        trainer.update()


def test_a_loss_that_is_no_number_from_the_start_is_not_blamed_on_the_learning_rate(
    run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(OwnSpan):
        def forward(self, hidden_BMD: Tensor) -> Tensor:
            return super().forward(hidden_BMD) * torch.nan

    monkeypatch.setitem(KINDS["span"], "own", OwnSpanConfig)
    run.span = OwnSpanConfig(made=Broken)
    with pytest.raises(NonFiniteError) as refused:
        train(run, updates=2)
    assert str(refused.value) == (
        "step 1: the loss is nan: what the model gives is not finite from the start; look at "
        "span=own"
    )


def test_a_span_whose_current_is_found_too_low_in_a_step_is_refused(run: RunConfig) -> None:
    class Drifting(OwnSpan):
        def current(self) -> Tensor:
            return self.limit * self.fraction.detach()

        @torch.no_grad()
        def clamp_(self) -> None:
            self.fraction.sub_(1)

    run.span = OwnSpanConfig(made=Drifting)
    assert message(run, updates=2).startswith("Drifting.current: span=-1")


def test_looking_at_spans_that_draw_numbers_changes_no_others(run: RunConfig) -> None:
    class Noisy(OwnSpan):
        def forward(self, hidden_BMD: Tensor) -> Tensor:
            return super().forward(hidden_BMD) + torch.rand(())

    run.span = OwnSpanConfig(made=Noisy)
    trainer_of(run)
    drawn = torch.rand(3)
    torch.manual_seed(run.train.seed + 1)
    assert torch.equal(torch.rand(3), drawn)


def first_of(**given: Any) -> Any:
    return IMPLEMENTATIONS["reference"].attend(**given)[0]


def swapped(**given: Any) -> Any:
    return IMPLEMENTATIONS["reference"].attend(**given)[::-1]


def sees_itself(**given: Any) -> Any:
    """Its queries see their own keys, and those after."""
    shifted = {name: given[name].roll(-1, 2) for name in ("key_BHCK", "value_BHCK")}
    return IMPLEMENTATIONS["reference"].attend(**{**given, **shifted})


def not_finite(**given: Any) -> Any:
    output, log_sum = IMPLEMENTATIONS["reference"].attend(**given)
    return output * torch.nan, log_sum


def narrow(**given: Any) -> Any:
    output, log_sum = IMPLEMENTATIONS["reference"].attend(**given)
    return output, log_sum.half()


def some(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters)[1:], 0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "line"),
    [
        (lambda parameters: None, "must return a torch.optim.Optimizer, returned None"),
        (
            lambda parameters: torch.optim.SGD,
            "must return a torch.optim.Optimizer, returned the class SGD",
        ),
        (
            some,
            "must give the optimizer all parameters; 1 would not learn, the first is position_SK",
        ),
        (torch.optim.LBFGS, "LBFGS.step must need no closure: it is called by itself, once an"),
    ],
)
def test_what_is_no_optimizer_of_all_parameters_is_refused(
    run: RunConfig, made: Callable[..., object], line: str
) -> None:
    run.optimizer = OwnOptimizerConfig(made=made)
    assert message(run).startswith(f"optimizer=own: OwnOptimizerConfig.build: {line}")


reference: Any = IMPLEMENTATIONS["reference"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "line"),
    [
        (
            None,
            "train.attention=own: its function must return an adaspan.Implementation, ",
        ),
        (
            reference._replace(attend=first_of),
            "attention own: attend must give two tensors, (1, 2, 3, 8) and (1, 2, 3), gave Tensor",
        ),
        (
            reference._replace(attend=swapped),
            "attention own: attend must give two tensors, (1, 2, 3, 8) and (1, 2, 3), gave shapes",
        ),
        (
            reference._replace(attend=sees_itself),
            "attention own: attend lets a query see its own token or a later one: what it gives ch",
        ),
        (
            reference._replace(attend=not_finite),
            "attention own: attend gives values that are not finite, for random queries, keys and",
        ),
        (
            reference._replace(attend=narrow),
            "attention own: the logarithms that attend gives must be float32 or float64, are torch",
        ),
        (
            reference._replace(attend=lambda query, key, value: query),
            "train.attention=own: attend: must take (*, query_BHMK, key_BHCK, value_BHCK, "
            "position_SK, window, span, ramp, unmasked, kept_BHMS, dropout), takes (query, key, v",
        ),
        (
            reference._replace(macs=lambda *, sequences, block: (1, 2)),
            "train.attention=own: macs: must take (*, sequences, block, keys, window, head_dim, de",
        ),
        (
            reference._replace(group_cost=lambda batch: 1.0),
            "train.attention=own: group_cost: must take (batch, block, device), takes (batch)",
        ),
        (reference._replace(macs=None), "train.attention=own: macs: must be a function, is None"),
        (
            reference._replace(macs=lambda **sizes: (17, 40960.0)),
            "train.attention=own: macs: must give two whole numbers, gave (17, 40960.0)",
        ),
    ],
)
def test_what_is_no_attention_is_refused(
    run: RunConfig, monkeypatch: pytest.MonkeyPatch, made: object, line: str
) -> None:
    monkeypatch.setitem(KINDS["attention"], "own", lambda: made)
    monkeypatch.setitem(IMPLEMENTATIONS, "own", reference)
    run.train = replace(run.train, attention="own")
    assert message(run, updates=1).startswith(line)


def test_a_run_of_other_parameters_is_not_gone_on_with(run: RunConfig) -> None:
    run.span = OwnSpanConfig()
    state = state_of(trainer_of(run))
    assert state is not None
    run.span = OwnSpanConfig(made=lambda heads: SharedSpan(heads))
    with pytest.raises(UserError) as refused:
        resume_from(state, trainer_of(run))
    assert str(refused.value).startswith("checkpoint and model have different parameters (")
    assert str(refused.value).endswith("; train.restart=true starts over")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("model", {}),
        ("model", None),
        ("optimizer", {"state": {}, "param_groups": []}),
        ("streams", {"epoch": 1, "place": 2}),
        ("caches", []),
        ("random", [torch.zeros(3, dtype=torch.uint8)]),
        ("best_step", ...),  # missing
    ],
)
def test_whatever_of_a_checkpoint_does_not_fit_is_one_line(
    part: str, value: object, run: RunConfig
) -> None:
    state = state_of(trainer_of(run))
    assert state is not None
    state[part] = value
    if value is ...:
        del state[part]
    with pytest.raises(UserError) as refused:
        resume_from(state, trainer_of(run))
    (line,) = str(refused.value).splitlines()
    assert len(line) < 400
    assert line.endswith("; train.restart=true starts over")


def test_best_weights_that_do_not_fit_are_told_in_one_line(run: RunConfig) -> None:
    best = best_state_of(trainer_of(run))
    for broken in ({}, {**best, "model": {"other": torch.ones(1)}}, {**best, "spans": None}):
        with pytest.raises(RunError, match="the best weights do not fit the model") as refused:
            take_best(broken, trainer_of(run))
        assert len(str(refused.value).splitlines()) == 1


class SharedSpan(OwnSpan):
    def __init__(self, heads: int) -> None:
        super().__init__(heads)
        self.fraction = nn.Parameter(torch.full((1,), 0.5))

    def forward(self, hidden_BMD: Tensor) -> Tensor:
        return super().forward(hidden_BMD).expand(2, 1)


def test_auto_takes_kernels_only_where_they_fit_and_are_quicker(
    run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, wide = torch.device("cuda", 0), replace(run.model, dim=512, heads=2)
    monkeypatch.setattr("adaspan.nn.attention.kernels._lacks", lambda *_: None)
    for attention, model, device, precision, chosen in (
        ("auto", run.model, gpu, torch.bfloat16, "triton"),
        ("auto", run.model, gpu, torch.float32, "auto"),
        ("auto", run.model, CPU, torch.bfloat16, "auto"),
        ("auto", wide, gpu, torch.bfloat16, "auto"),
        ("banded", run.model, gpu, torch.bfloat16, "banded"),
    ):
        assert choose_attention(attention, model, device, precision) == chosen


def test_kernels_for_a_gpu_are_refused_on_a_cpu_with_a_way_out(
    tiny: tuple[str, ...], launch_here: Launch
) -> None:
    result = launch_here(*tiny, "train.attention=triton", TRITON_INTERPRET="0")
    assert result.returncode == 2
    assert "train.attention=triton: needs a GPU, is on cpu; train.attention=auto takes what" in (
        result.stderr
    )
