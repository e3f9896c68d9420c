"""What an update executes, beside what it had executed with fixed spans."""

from __future__ import annotations

import pytest

from adaspan.nn.span import AdaptiveSpan
from tests.train.test_trainer import trainer_of

# Longer than the text has been read after a few updates, and than the streams are.
LIMIT = 1000
LONG_BLOCKS = "train.block_size=100"
WORDS = ("data.symbols=words", "model.cutoffs=[6,20]")


@pytest.mark.slow
@pytest.mark.parametrize("limit", [24, LIMIT])
@pytest.mark.parametrize("data", [(), WORDS], ids=["bytes", "words"])
def test_fixed_spans_execute_what_fixed_spans_execute(
    tiny: tuple[str, ...], data: tuple[str, ...], limit: int
) -> None:
    fixed = [o for o in tiny if not o.startswith("span.")]
    trainer = trainer_of(*fixed, "span=fixed", f"span.limit={limit}", LONG_BLOCKS, *data)
    while trainer.streams.cursor.epoch < 2:  # the streams wrap around
        trainer.update()
        trainer.take_losses()
        assert trainer.flops.per_token == trainer.flops.fixed_per_token


@pytest.mark.slow
@pytest.mark.parametrize("span", ["adaptive", "dynamic"])
@pytest.mark.parametrize("data", [(), WORDS], ids=["bytes", "words"])
def test_learned_spans_are_compared_with_a_run_whose_spans_are_fixed(
    tiny: tuple[str, ...], data: tuple[str, ...], span: str
) -> None:
    plain = [o for o in tiny if not o.startswith("span.")]
    learned, fixed = (
        trainer_of(*plain, f"span={kind}", f"span.limit={LIMIT}", LONG_BLOCKS, *data)
        for kind in (span, "fixed")
    )
    for own in learned.model.spans:
        if isinstance(own, AdaptiveSpan):
            own.fraction.data.fill_(0.01)
    for _ in range(4):
        for trainer in (learned, fixed):
            trainer.update()
            trainer.take_losses()
        assert learned.flops.fixed_per_token == fixed.flops.per_token
    assert learned.flops.per_token < fixed.flops.per_token
