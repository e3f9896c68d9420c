"""Text from a model, token by token: read the prompt, choose the next token, read it, and so on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adaspan.nn.checks import check_above_zero, check_at_least, check_counts, check_index

if TYPE_CHECKING:
    from adaspan.nn.transformer import Transformer

# A prompt is read in blocks of so many tokens.
_BLOCK = 256


@torch.inference_mode()
def generate(
    model: Transformer,
    prompt_T: Tensor,
    count: int | None,
    *,
    temperature: float,
    top_k: int | None,
    top_p: float,
    seed: int,
) -> Iterator[int]:
    """See `Transformer.generate`, which has checked the prompt."""
    generator = torch.Generator().manual_seed(seed)
    caches = model.key_value_caches()
    seen_T = prompt_T[-model.receptive_field() - 1 :]  # what came before has no say
    token_11 = seen_T[-1:].unsqueeze(0)
    with model.without_dropout():
        for start in range(0, len(seen_T) - 1, _BLOCK):
            block_1M = seen_T[start : start + _BLOCK + 1].unsqueeze(0)
            model(block_1M[:, :-1], caches, targets_BM=block_1M[:, 1:])
    written = 0
    while count is None or written < count:
        with model.without_dropout():
            log_probs_11V = model(token_11, caches).log_probs_BMV
        token = choose(log_probs_11V[0, 0].cpu(), generator, temperature, top_k, top_p)
        yield token
        written += 1
        token_11 = token_11.new_tensor([[token]])


def check_sampling(temperature: float, top_k: int | None, top_p: float, seed: int) -> None:
    """Refuse what cannot be sampled with, one mistake in one line.

    Raises:
        ValueError: a value is out of its range.
    """
    check_at_least(0, temperature=temperature)
    if top_k is not None:
        check_counts(top_k=top_k)
    check_above_zero(top_p=top_p)
    if top_p > 1:
        raise ValueError(f"top_p={top_p}: must be at most 1")
    check_index(2**63, seed=seed)


def choose(
    log_probs_V: Tensor,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
) -> int:
    """Choose a token by its probability. Draws one number from the generator.

    Args:
        log_probs_V: of all tokens, on the CPU.
        generator: of a CPU.
        temperature: log-probabilities are divided by it: below 1 likely tokens become likelier. 0:
            the likeliest token; the lowest id of several.
        top_k: only so many of the likeliest tokens; None: all.
        top_p: only the likeliest tokens that together have this probability, at the temperature.
    """
    if temperature == 0:
        return int(log_probs_V.argmax())
    draw = torch.rand((), dtype=torch.float64, generator=generator)
    sorted_V, token_V = log_probs_V.double().sort(descending=True, stable=True)
    # Below the likeliest, or a temperature near 0 would make all of them infinite.
    sum_V = ((sorted_V[:top_k] - sorted_V[0]) / temperature).softmax(0).cumsum(0)
    kept = 1 + int((sum_V < top_p * sum_V[-1]).sum())  # at least the likeliest
    sum_V = sum_V[:kept]
    chosen = int(torch.searchsorted(sum_V, draw * sum_V[-1], right=True))
    return int(token_V[min(chosen, len(sum_V) - 1)])
