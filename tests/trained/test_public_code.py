"""Checkpoints of the public code as runs: what they predict, and what is refused.

`benchmarks/imported.py --golden tests/trained/public_code.json` wrote down, with the public code at
hand, the names and shapes of its tensors, and the costs of a text's tokens.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from adaspan import load
from adaspan.cli import main
from adaspan.config.kinds.data import corpus_of
from adaspan.data.foreign import translate
from adaspan.trained.public_data import PublicData
from tests.conftest import Launch, call
from tests.test_benchmarks import benchmark

GOLDEN = json.loads((Path(__file__).parent / "public_code.json").read_text())
SPAN = "layers.0.attn.attn.adaptive_span._mask.current_val"
NO_CHECKPOINT = "model.pt: is no checkpoint of the public code"
Import = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return benchmark("imported", monkeypatch)


@pytest.fixture
def import_(script: ModuleType, tmp_path: Path) -> Import:
    """Runs `adaspan import model.pt` beside the data that it was trained on."""
    script.write_data(tmp_path / "sums")

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        words = ("adaspan", "import", "model.pt", "--data", "sums", "--ramp", "6", *options)
        return call(main, *words, folder=tmp_path, ADASPAN_DATA_DIR=str(tmp_path / "data"))

    return run


def tensors_of(script: ModuleType, kind: str) -> dict[str, Tensor]:
    shapes, shared = GOLDEN[kind]["shapes"], GOLDEN[kind]["shared"]
    return {name: script.filled(shared.get(name, name), shape) for name, shape in shapes.items()}


def save(script: ModuleType, path: Path, kind: str = "adaptive", **more: Any) -> None:
    torch.save({**script.checkpoint(tensors_of(script, kind), [1000, 2000]), **more}, path)


def the_run(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", GOLDEN)
def test_a_token_costs_what_it_costs_in_the_public_code(
    kind: str, import_: Import, script: ModuleType, tmp_path: Path
) -> None:
    save(script, tmp_path / "model.pt", kind)
    end = import_()
    assert end.returncode == 0, end.stderr
    folder = the_run(tmp_path)
    assert end.stdout == f"runs/{folder.name}\nnext  adaspan evaluate runs/{folder.name}\n"
    past = script.LAYERS * script.LIMIT  # there, the start sees zeros where there is no history
    theirs = torch.tensor(GOLDEN[kind]["nats"])[past:]
    assert (script.costs_here(folder)[past:] - theirs).abs().max() < script.MOST


def test_what_the_shapes_tell_is_the_configuration(
    import_: Import, script: ModuleType, tmp_path: Path
) -> None:
    save(script, tmp_path / "model.pt", "persistent")
    assert import_().returncode == 0
    _, vocabulary, config = load(the_run(tmp_path))
    model, span = config.model, config.span
    assert (model.layers, model.dim, model.heads) == (2, 16, 2)
    assert (model.ffn_dim, model.persistent) == (0, 10)
    assert (span.kind, span.limit) == ("adaptive", 24)
    assert config.train.steps == 2000
    assert vocabulary.unit == "bytes"
    assert bytes(vocabulary.symbols) == script.SYMBOLS, "in the order of the first appearance"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adaptive_io", "tied_io"])
def test_clusters_of_words_are_those_of_the_shapes(
    kind: str, import_: Import, script: ModuleType, tmp_path: Path
) -> None:
    save(script, tmp_path / "model.pt", kind)
    assert import_().returncode == 0
    _, vocabulary, config = load(the_run(tmp_path))
    model = config.model
    assert (model.cutoffs, model.divisor, model.tied) == ([3, 7], 2, kind == "tied_io")
    # As frequent as all others but for the end of the last line, and sorted by that backwards.
    others = bytes(symbol for symbol in script.SYMBOLS if symbol != ord("\n"))
    assert bytes(vocabulary.symbols) == b"\n" + others[::-1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adaptive", "tied_io"])
def test_an_imported_run_is_evaluated_exported_and_writes(
    kind: str,
    import_: Import,
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    launch_here: Launch,
) -> None:
    save(script, tmp_path / "model.pt", kind)
    assert import_().returncode == 0
    run = str(the_run(tmp_path))
    shown = call(main, "adaspan", "evaluate", run, "--device", "cpu", folder=tmp_path)
    size = 30 * len(script.SYMBOLS)
    assert [line.rpartition(" · ")[2] for line in shown.stdout.splitlines()] == [
        f"{size} bytes"
    ] * 2, shown.stderr
    for words in (("export", run, "out"), ("generate", "out", "--device", "cpu"), ("status",)):
        end = call(main, "adaspan", *words, folder=tmp_path)
        assert (end.returncode, bool(end.stdout)) == (0, True), end.stderr
    explained = call(main, "adaspan", "explain", run, folder=tmp_path).stdout
    assert "imported from model.pt; no command trains it" in explained
    monkeypatch.chdir(tmp_path)
    end = launch_here("--config-path", run, "--config-name", "config", "train.steps=9999")
    assert (end.returncode, len(end.stderr.splitlines())) == (2, 1)
    assert "was imported from model.pt, which tells neither dropout" in end.stderr
    assert len([*(tmp_path / "runs").iterdir()]) == 1, "none was begun anew"
    assert "unknown  dropout, loss coefficient, optimizer, batch and block size" in explained
    assert "default  model.layers: " in explained
    assert "default  optimizer" not in explained, "which is not that of its training"


def test_characters_are_read_as_the_public_code_has_them(
    script: ModuleType, tmp_path: Path
) -> None:
    for name, text in (("train", "t o _ b e \n o r"), ("valid", "n o t"), ("test", "_ t o")):
        (tmp_path / f"{name}.txt").write_text(text)
    data = PublicData(tmp_path)
    assert data.vocabulary.unit == "characters"
    assert "".join(map(chr, data.vocabulary.symbols)) == "to be\nr"
    config = data.as_data(tmp_path / "decoded" / "hamlet")
    assert (config.name, config.symbols) == ("hamlet", "characters")
    corpus = corpus_of(config, tmp_path)
    splits = (corpus.train, corpus.valid, corpus.test)
    texts = [corpus.vocabulary.decode(split.tolist()) for split in splits]
    assert texts == ["to be\nor", "not", " to"]


def test_words_are_read_where_they_are(tmp_path: Path) -> None:
    for name, written in (
        ("train", "so it it\nit is\n"),
        ("valid", "it so\n"),
        ("test", "is he\n"),
    ):
        (tmp_path / f"{name}.txt").write_text(written)
    as_they_come, by_count = (PublicData(tmp_path, by_count=wanted) for wanted in (False, True))
    assert as_they_come.vocabulary.symbols == ("so", "it", "<eos>", "is")
    assert by_count.vocabulary.symbols == ("it", "<eos>", "is", "so")
    config = by_count.as_data(tmp_path / "decoded")
    corpus = corpus_of(config, tmp_path)
    # The model has no <unk>.
    assert corpus.vocabulary.symbols == (*by_count.vocabulary.symbols, "<unk>")
    text = translate(corpus.test, corpus.vocabulary, as_they_come.vocabulary)
    assert (text.tokens.tolist(), text.unknown) == ([3, 2], 1)
    assert text.nats_each == pytest.approx(math.log(4))


class Colour:
    """Something that a pickle could make, and run code for it."""


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"model": {}}, "model.pt: is no checkpoint of the public code (it lacks what is"),
        (
            {"weights": {}},
            "model.pt: is no checkpoint of the public code (there is no model in it)",
        ),
        ({"args": argparse.Namespace(lr=1)}, "model.pt: holds more than tensors and plain values"),
        ({"args": Colour()}, "model.pt: holds more than tensors and plain values, not read"),
        (
            {"model": {"module.spam": torch.zeros(1)}},
            "model.pt: is no checkpoint of the public code (it has module.spam)",
        ),
    ],
    ids=["nothing", "no_model", "arguments", "object", "other_name"],
)
def test_what_is_no_such_checkpoint_is_one_line(
    import_: Import, tmp_path: Path, content: dict[str, object], told: str
) -> None:
    torch.save(content, tmp_path / "model.pt")
    end = import_()
    assert (end.returncode, end.stdout) == (2, "")
    assert end.stderr.startswith(f"adaspan: error: {told}")
    assert len(end.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"key_pe": torch.ones(3, 8, 24)}, "key_pe has the shape (3, 8, 24)"),
        ({"key_pe": torch.ones(24)}, "key_pe has the shape (24,)"),
        ({"key_pe": torch.ones(1, 7, 24)}, "size mismatch for position_SK: "),
        ({"key_pe": torch.ones(0, 8, 24)}, "key_pe is no tensor of numbers"),
        ({"key_pe": torch.ones(1, 32, 24)}, "model.heads=0: must be at least 1"),
        ({"in_emb.weight": torch.ones(9)}, "in_emb.weight has the shape (9,)"),
        ({"in_emb.weight": "hello"}, "in_emb.weight is no tensor of numbers"),
        ({"out_emb.bias": torch.ones(12, dtype=torch.int64)}, "out_emb.bias is no tensor of num"),
        ({"out_emb.cluster_proj.bias": torch.tensor(1.0)}, "out_emb.cluster_proj.bias has the"),
        ({"layers.0.attn.attn.persistent_memory.key": torch.ones(2)}, "layers.0.attn.attn.persi"),
        ({5: torch.ones(1)}, "it has 5"),
        ({SPAN: torch.tensor([[[1.7]], [[-0.5]]])}, f"{SPAN} is a share of the longest span, "),
    ],
)
def test_tensors_that_make_no_model_are_one_line(
    import_: Import, script: ModuleType, tmp_path: Path, change: dict[Any, object], told: str
) -> None:
    content = script.checkpoint(tensors_of(script, "adaptive"), [1000])
    content["model"] |= {
        f"module.{name}" if isinstance(name, str) else name: value for name, value in change.items()
    }
    torch.save(content, tmp_path / "model.pt")
    end = import_()
    assert (end.returncode, end.stdout) == (2, "")
    line = end.stderr.replace("module.", "")
    assert line.startswith(f"adaspan: error: {NO_CHECKPOINT} ({told}"), line
    assert len(line.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_weights_that_are_no_numbers_are_not_imported(
    import_: Import, script: ModuleType, tmp_path: Path
) -> None:
    tensors = tensors_of(script, "adaptive")
    tensors["out_emb.bias"][3] = torch.nan
    torch.save(script.checkpoint(tensors, [1000]), tmp_path / "model.pt")
    end = import_()
    assert end.returncode == 2
    assert end.stderr == (
        "adaspan: error: model.pt: module.out_emb.bias is not finite: the training had failed when "
        "this was saved; import an earlier checkpoint\n"
    )


@pytest.mark.parametrize("steps", [5, ["a"], [math.nan], [-1]])
def test_a_log_that_tells_no_updates_is_one_line(
    import_: Import, script: ModuleType, tmp_path: Path, steps: object
) -> None:
    save(script, tmp_path / "model.pt", logger={"step": steps})
    end = import_()
    told = f"{NO_CHECKPOINT} (its log does not tell the updates)"
    assert (end.returncode, end.stderr) == (2, f"adaspan: error: {told}\n")


@pytest.mark.parametrize("content", [b"So it is.\n", b"\x93\x01Nb", b"PK\x03\x04", b"\x80\x02"])
def test_what_torch_has_not_written_is_no_checkpoint(
    import_: Import, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "model.pt").write_bytes(100 * content)
    end = import_()
    assert end.returncode == 2
    assert end.stderr.startswith("adaspan: error: model.pt: cannot be read as a checkpoint (")
    assert len(end.stderr.splitlines()) == 1


def test_a_pickle_of_another_program_is_one_line(import_: Import, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"a": 1}, protocol=4))
    end = import_()
    told = "adaspan: error: model.pt: holds more than tensors and plain values, not read\n"
    assert (end.returncode, end.stderr) == (2, told)


def test_files_that_do_not_fit_are_one_line(
    import_: Import, script: ModuleType, tmp_path: Path
) -> None:
    def told() -> str:
        end = import_()
        assert (end.returncode, len(end.stderr.splitlines())) == (2, 1), end.stderr
        return end.stderr.removeprefix("adaspan: error: ")

    assert told().startswith("model.pt: No such file or directory")
    (tmp_path / "model.pt").write_bytes(b"spam")
    assert told().startswith("model.pt: cannot be read as a checkpoint (")
    save(script, tmp_path / "model.pt")
    (tmp_path / "sums" / "test.txt").unlink()
    assert told().startswith("--data sums: has no test.txt; it must be the folder that the")
    (tmp_path / "sums" / "test.txt").write_text("97")
    (tmp_path / "sums" / "train.txt").write_text("97 98")
    assert told().startswith("--data sums: has 3 symbols in train.txt, but the checkpoint has 12;")


@pytest.mark.slow
def test_a_second_import_is_refused(import_: Import, script: ModuleType, tmp_path: Path) -> None:
    save(script, tmp_path / "model.pt")
    assert import_().returncode == 0
    end = import_()
    assert end.returncode == 2
    assert "is there already; delete it to import model.pt again" in end.stderr
