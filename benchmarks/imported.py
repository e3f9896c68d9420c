"""A checkpoint of the public code, imported: how far its costs are from those that it has there.

    python benchmarks/imported.py --reference DIR

Builds small models of every kind there, saves them as it does, imports the files, and compares the
cost of each token of a text, from where no prediction depends on the text's start: there, the
public code attends to zeros where there is no history. Ends with 1 if they are too far apart.
`--golden FILE` writes down what the tests compare with, where the public code is not at hand.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from public_code import checkpoint, filled, load, options
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from adaspan.train.load import load as load_run
from adaspan.trained.public_code import import_checkpoint

LAYERS, DIM, HEADS, INNER, LIMIT, RAMP, BLOCK = 2, 16, 2, 24, 24, 6, 16
LONG = 12 * BLOCK
MOST = 1e-5  # nats
# Its bytes, in the order in which they first appear, which are as frequent.
SYMBOLS = b"adspn\n \xc3\xa9xyz"
KINDS: dict[str, dict[str, Any]] = {
    "adaptive": {},
    "fixed": {"fixed": True},
    "persistent": {"persistent": 10},
    "adaptive_io": {"cutoffs": [3, 7]},
    "tied_io": {"cutoffs": [3, 7], "tied": True, "persistent": 10},
}


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reference", type=Path, metavar="DIR", required=True)
    parser.add_argument("--golden", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    module = load(arguments.reference)
    table = Table("kind", "largest difference in nats", title="Imported from the public code")
    golden = {}
    worst = 0.0
    for kind, choices in KINDS.items():
        model = public_model(module, **choices)
        theirs = costs_there(model)
        golden[kind] = {
            "shapes": {name: list(tensor.shape) for name, tensor in model.state_dict().items()},
            "shared": shared(model),
            "nats": [round(cost, 7) for cost in theirs.tolist()],
        }
        with tempfile.TemporaryDirectory() as folder:
            ours = costs_here(imported(Path(folder), model.state_dict()))
        difference = float((ours - theirs).abs()[LAYERS * LIMIT :].max())
        table.add_row(kind, f"{difference:.1e}")
        worst = max(worst, difference)
    Console().print(table)
    if arguments.golden:
        arguments.golden.write_text(json.dumps(golden))
    sys.exit(worst > MOST)


def text() -> Tensor:
    """Ids of the tokens of a text."""
    place = torch.arange(LONG + 1)
    tokens: Tensor = (place * place * 7 + place * 3 + place // 5) % len(SYMBOLS)
    return tokens


def public_model(
    module: Any,
    *,
    fixed: bool = False,
    persistent: int = 0,
    cutoffs: Sequence[int] = (),
    tied: bool = False,
) -> Any:
    """A model of the public code, in evaluation mode."""
    choices = options(LIMIT, RAMP, persistent)
    choices["adapt_span_params"]["adapt_span_enabled"] = not fixed
    model = module.TransformerSeq(
        vocab_size=len(SYMBOLS),
        hidden_size=DIM,
        nb_heads=HEADS,
        nb_layers=LAYERS,
        inner_hidden_size=INNER,
        emb_dropout=0.0,
        adapt_io_params={
            "adapt_io_enabled": bool(cutoffs),
            "adapt_io_cutoffs": list(cutoffs),
            "adapt_io_divval": 2,
            "adapt_io_tied": tied,
        },
        **choices,
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(filled(name, parameter.shape))
    return model


def shared(model: nn.Module) -> dict[str, str]:
    """Names of tensors that are others under a second name, and those of the others."""
    first: dict[int, str] = {}
    names = ((name, first.setdefault(t.data_ptr(), name)) for name, t in model.state_dict().items())
    return {name: other for name, other in names if name != other}


@torch.no_grad()
def costs_there(model: Any) -> Tensor:
    """The cost of each token of the text but the first, read block by block."""
    caches = [torch.zeros(1, layer.attn.attn.get_cache_size(), DIM) for layer in model.layers]
    tokens, costs = text()[None], []
    for start in range(0, LONG, BLOCK):
        targets = tokens[:, start + 1 : start + BLOCK + 1]
        output, caches, _ = model(tokens[:, start : start + BLOCK], caches, target=targets)
        if not model.adapt_io:  # which gives costs, not log-probabilities
            output = -output.gather(-1, targets.unsqueeze(-1))
        costs.append(output.flatten())
    return torch.cat(costs)


def imported(folder: Path, tensors: dict[str, Tensor]) -> Path:
    """The run folder of a checkpoint with these tensors."""
    data = folder / "data"
    write_data(data)
    torch.save(checkpoint(tensors, [1000, 2000]), folder / "model.pt")
    return import_checkpoint(folder / "model.pt", data, folder / "runs", RAMP)


def write_data(folder: Path) -> None:
    """A text as the public code has it: bytes as numbers, and lines that end."""
    folder.mkdir()
    in_words = " ".join("\n" if symbol == 10 else str(symbol) for symbol in SYMBOLS * 30)
    for name in ("train.txt", "valid.txt", "test.txt"):
        (folder / name).write_text(in_words)


@torch.no_grad()
def costs_here(run: Path) -> Tensor:
    """The same of an imported run."""
    model, _, _ = load_run(run)
    tokens = text()[None]
    costs_BM = model(tokens[:, :-1], targets_BM=tokens[:, 1:]).nats_BM
    assert costs_BM is not None
    costs: Tensor = costs_BM[0]
    return costs


if __name__ == "__main__":
    main()
