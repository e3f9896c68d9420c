"""Steps of a GPU, not captured, on a CPU: they learn what others do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adaspan.config.kinds.optimizer import AdagradConfig
from adaspan.nn.span import AdaptiveSpan
from adaspan.train.standing import StandingStep
from tests.train.test_flat import SHAPE, SPAN, Learner


@pytest.mark.slow
def test_they_learn_what_others_do_with_windows_that_stand() -> None:
    settings = AdagradConfig(lr=0.05, grad_clip=0.03)
    shape = replace(SHAPE, dropout=0.0)  # which draws as many numbers as a window has keys
    plain, standing = (Learner(settings, 2, flat=flat, shape=shape) for flat in (False, True))
    assert standing.flat is not None
    step = StandingStep(
        standing.step,
        standing.model,
        standing.flat,
        streams=2,
        block_size=8,
        captures=False,
        applies=False,
    )
    losses = []
    for one, model in ((plain.step, plain.model), (step, standing.model)):
        torch.manual_seed(4)
        caches = model.empty_caches(4)
        for tokens_BM in torch.randint(30, (12, 4, 9)):
            learned = one.learn(tokens_BM[:, :-1], tokens_BM[:, 1:], caches)
            caches = learned.caches
            one.apply()
            losses.append(learned.loss)
    torch.testing.assert_close(losses[12:], losses[:12], rtol=1e-5, atol=0)
    assert [{group.window for group in layer or ()} for layer in step.plan.next(step._spans())] == [
        {SPAN.limit}
    ] * 2
    spans_LH = standing.model.current_spans()
    assert spans_LH is not None
    assert torch.equal(step._spans(), spans_LH)


def test_loaded_weights_are_seen() -> None:
    learner = Learner(AdagradConfig(lr=0.05), 1, flat=True)
    assert learner.flat is not None
    step = StandingStep(
        learner.step,
        learner.model,
        learner.flat,
        streams=4,
        block_size=8,
        captures=False,
        applies=False,
    )
    step.apply()
    with torch.no_grad():
        for span in learner.model.spans:
            assert isinstance(span, AdaptiveSpan)
            span.fraction.fill_(0.5)
    assert step._spans().max() < 0.5 * SPAN.limit, "as they were after the update"
    step.begin_anew()
    assert torch.equal(step._spans(), torch.full((2, 2), 0.5 * SPAN.limit))
