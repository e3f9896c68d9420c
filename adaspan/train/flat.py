"""All parameters of a model in one piece of memory, so that a GPU starts few operations for them.

Where products are of another precision, linear layers are computed with narrow copies of their
weights. These are made once an update, not once in each place where a weight is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# Numbers in a row that are of the same parameter; each begins with such a row.
ROW = 256


class FlatParameters:
    """The parameters of a model, their gradients, and narrow copies of some.

    Gradients are taken for `leaves` and handed to `take`, which leaves them in `parameter.grad`.

    Args:
        model: whose parameters, all float32, move into this memory.
        precision: of matrix products.
    """

    def __init__(self, model: nn.Module, precision: torch.dtype) -> None:
        parameters = list(model.parameters())
        rows = [-(-p.numel() // ROW) for p in parameters]
        self.values_RN = parameters[0].new_zeros(sum(rows), ROW)
        self.gradients_RN = torch.zeros_like(self.values_RN)
        # Which parameter a row is of.
        self.owner_R = torch.arange(len(rows)).repeat_interleave(torch.tensor(rows))
        self.owner_R = self.owner_R.to(self.values_RN.device)
        self._narrow_RN = torch.empty_like(self.values_RN, dtype=precision)
        self._more_RN: Tensor | None = None  # gradients of further micro-batches
        self._parameters = parameters
        self._gradients = self.views(self.gradients_RN)
        for parameter, value in zip(parameters, self.views(self.values_RN), strict=True):
            value.copy_(parameter.detach())
            parameter.data = value
        self.attach()
        self._narrow = self._places(model) if precision != torch.float32 else {}
        self.leaves = list(parameters)
        for i, narrow in enumerate(self.views(self._narrow_RN)):
            if parameters[i] in self._narrow:
                self.leaves[i] = nn.Parameter(narrow)
        self.refresh()

    def views(self, flat_RN: Tensor) -> list[Tensor]:
        """Every parameter's part of memory that is laid out like `values_RN`."""
        first, views = 0, []
        for parameter in self._parameters:
            part = flat_RN.flatten()[first : first + parameter.numel()]
            views.append(part.view(parameter.shape))
            first += -(-parameter.numel() // ROW) * ROW
        return views

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring the narrow copies up to date; after everything that changes parameters."""
        if self._narrow:
            self._narrow_RN.copy_(self.values_RN)

    def attach(self) -> None:
        """Have `parameter.grad` be here, also after `model.zero_grad` has taken it away."""
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient

    @contextmanager
    def narrow(self) -> Iterator[None]:
        """Inside, linear layers compute with narrow copies of their weights."""
        self._exchange(self.leaves)
        try:
            yield
        finally:
            self._exchange(self._parameters)

    @torch.no_grad()
    def take(self, gradients: Sequence[Tensor], *, first: bool) -> None:
        """Take up the gradients of `leaves`, of an update's first micro-batch or a further one."""
        if first:
            self._copy(self._gradients, gradients)
            return
        if self._more_RN is None:
            self._more_RN = torch.zeros_like(self.gradients_RN)
        self._copy(self.views(self._more_RN), gradients)
        self.gradients_RN += self._more_RN

    def _copy(self, targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
        """Those of one type at a time, which takes one operation for all of them."""
        for dtype in {source.dtype for source in sources}:
            pairs = [pair for pair in zip(targets, sources, strict=True) if pair[1].dtype == dtype]
            torch._foreach_copy_([one for one, _ in pairs], [other for _, other in pairs])

    def _exchange(self, parameters: Sequence[nn.Parameter]) -> None:
        for own, other in zip(self._parameters, parameters, strict=True):
            for module, name in self._narrow.get(own, ()):
                module._parameters[name] = other

    def _places(self, model: nn.Module) -> dict[nn.Parameter, list[tuple[nn.Module, str]]]:
        """Where the weights and biases of linear layers stand."""
        places: dict[nn.Parameter, list[tuple[nn.Module, str]]] = {}
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if isinstance(module, nn.Linear):
                    places.setdefault(parameter, []).append((module, name))
        return places
