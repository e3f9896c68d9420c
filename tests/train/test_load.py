"""A trained model from its folder alone: what it predicts, and what is refused."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import cast

import pytest
import torch

from adaspan import load, read
from adaspan.config.schema import RunConfig
from adaspan.data import prepare
from adaspan.errors import RunError, UserError
from adaspan.places import LAUNCH
from adaspan.runs.command import typed
from adaspan.runs.folder import RunFolder
from adaspan.runs.measures import BPB
from adaspan.train.evaluate import evaluate, whole_text
from adaspan.trained.text_score import own_texts
from tests.conftest import Launch
from tests.processes import final_state, of_other_code, rows
from tests.shared import finished_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, in a folder `runs` beside its text and its prepared data."""
    return finished_run(tmp_path_factory, "finished")


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, away from its text."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.mark.slow
def test_the_loaded_model_has_the_runs_score(folder: Path) -> None:
    model, vocabulary, config = load(folder)
    assert not model.training
    assert isinstance(config, RunConfig)
    assert config.model.dim == 16
    corpus = prepare(config.data.build(Path(config.data_dir)), Path(config.data_dir))
    assert vocabulary == corpus.vocabulary
    pieces = whole_text(len(corpus.test), model.receptive_field(), 8)
    score = evaluate(
        model, corpus.test, pieces, batch_size=8, block_size=8, device=torch.device("cpu")
    )
    found = BPB.of_nats(score.nats_per_token)
    assert found == pytest.approx(rows(folder)[-1]["final/test_bpb"], rel=1e-5)


@pytest.mark.slow
def test_text_goes_in_and_comes_out(folder: Path) -> None:
    model, vocabulary, _ = load(str(folder))
    tokens = torch.tensor([vocabulary.encode("3 plus 4")])
    with torch.no_grad():
        output = model(tokens)
    assert output.log_probs_BMV.shape == (1, 8, len(vocabulary))
    assert vocabulary.decode(tokens[0].tolist()) == "3 plus 4"


def test_best_and_last_weights_are_those_of_their_checkpoints(folder: Path) -> None:
    best = torch.load(folder / "checkpoints" / "best.pt", weights_only=True)
    path = str(folder / "checkpoints" / "best.pt")
    for weights, state in (("best", best), ("last", final_state(folder)), (path, best)):
        model, _, _ = load(folder, weights=weights)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, state["model"][name])


def of_extensions(folder: Path, kept: Path, **kinds: str) -> None:
    """Make it a run of kinds of a module that was kept in some folder, and is not found here."""
    config = (folder / "config.yaml").read_text().replace("extensions: []", "extensions: [gone]")
    for kind, own in {"kind: text": kinds.get("data"), "n: auto": kinds.get("attention")}.items():
        config = config.replace(kind, f"{kind.split()[0]} {own}") if own else config
    (folder / "config.yaml").write_text(config)
    starts = json.loads((folder / "source.json").read_text())
    record = {"file": str(kept / "gone.py"), "sha256": "", "version": None}
    starts[-1]["extensions"] = {"gone": record}
    (folder / "source.json").write_text(json.dumps(starts))


def test_a_model_is_loaded_without_modules_that_had_only_its_data_or_figures(
    folder: Path, tmp_path: Path
) -> None:
    of_extensions(folder, tmp_path, data="own")
    (tmp_path / "gone.py").write_text("")
    _, vocabulary, config = load(folder)
    assert config.data.kind == "own"
    with pytest.raises(UserError, match=r"no module gone: the run had it from .*; --data FILE t"):
        own_texts(folder, config, vocabulary, None, ["valid"])


def test_where_a_run_had_the_module_that_its_model_needs_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_extensions(folder, tmp_path, attention="own")
    monkeypatch.setattr("adaspan.config.extensions.IS_INSTALLED", True)
    with pytest.raises(
        UserError, match=r"and .*gone.py, which the run had, cannot be read: it must be in the"
    ):
        load(folder)
    (tmp_path / "gone.py").write_text("")
    with pytest.raises(UserError) as refused:
        load(folder)
    assert str(refused.value) == (
        f"extensions=[gone]: there is no module gone: the run had it from {tmp_path}/gone.py; "
        f"start in {tmp_path}, or with PYTHONPATH={tmp_path}"
    )
    assert typed(folder).startswith(f"PYTHONPATH={tmp_path} {LAUNCH} --config-path")
    monkeypatch.syspath_prepend(tmp_path)
    assert typed(folder).startswith(f"{LAUNCH} --config-path")


def test_before_the_first_evaluation_there_are_only_last_weights(folder: Path) -> None:
    (folder / "checkpoints" / "best.pt").unlink()
    with pytest.raises(RunError, match=r'no best weights yet.*weights="last", or --weights last,'):
        load(folder)
    load(folder, weights="last")
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(RunError, match="has no checkpoint yet"):
        load(folder, weights="last")


def test_a_run_that_failed_before_its_first_checkpoint_has_no_weights(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(RunError, match="has no checkpoint yet"):  # not even the last ones
        load(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"model: [1", "damaged"),
        (b"", "was not written by this version ('model')"),
        (b"- 1", "damaged (must hold keys and values)"),
        (b"\xff\x00", "damaged"),
    ],
)
def test_a_damaged_configuration_is_named(folder: Path, content: bytes, reason: str) -> None:
    (folder / "config.yaml").write_bytes(content)
    with pytest.raises(RunError, match=re.escape(f"{folder / 'config.yaml'}: {reason}")) as e:
        load(folder)
    assert "\n" not in str(e.value)


def test_a_configuration_with_keys_of_another_version_is_named(folder: Path) -> None:
    with (folder / "config.yaml").open("a") as file:
        file.write("spam: 1\n")
    with pytest.raises(RunError, match=r"config\.yaml: was not written by this version .*'spam'"):
        load(folder)


@pytest.mark.slow
def test_a_run_of_a_gpus_kernels_loads_without_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    values = folder / "config.yaml"
    values.write_text(values.read_text().replace("attention: auto", "attention: triton"))
    model, _, config = load(folder)
    assert (config.train.attention, model.attention) == ("triton", "banded")


def test_a_device_that_is_not_there_is_named(folder: Path) -> None:
    for device in ("gpu", "last"):
        with pytest.raises(ValueError, match=f"device={device}: Expected one of cpu, cuda"):
            load(folder, device)


def test_attention_on_a_text_leaves_every_part_in_its_mode(folder: Path) -> None:
    model, vocabulary, _ = load(folder)
    model.layers[1].train()
    before = [module.training for module in model.modules()]
    model.attention_of(vocabulary.encode("3 plus 4"), layer=1, head=0)
    assert [module.training for module in model.modules()] == before
    assert any(before)


def test_a_damaged_checkpoint_is_named_and_left_where_it_is(folder: Path) -> None:
    newest = max((folder / "checkpoints").glob("step_*.pt"))
    newest.write_bytes(newest.read_bytes()[:-200])
    with pytest.raises(RunError, match=re.escape(f"{newest}: damaged")):
        load(folder, weights="last")
    assert newest.exists()


def test_weights_of_another_shape_are_refused_in_one_line(folder: Path) -> None:
    vocabulary = json.loads((folder / "vocabulary.json").read_text())
    vocabulary["symbols"].append(255)
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary))
    with pytest.raises(RunError, match=r"do not fit config.yaml and vocabulary.json \(size") as e:
        load(folder)
    assert "\n" not in str(e.value)
    of_other_code(RunFolder(folder))
    with pytest.raises(RunError, match=r"; it was trained by other code: adaspan/nn/span/learned"):
        load(folder)


def test_a_wrong_choice_and_a_folder_without_a_run_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="weights=newest: must be best or last"):
        load(tmp_path, weights="newest")
    with pytest.raises(UserError, match="no such folder"):
        load(tmp_path / "nowhere")


def test_an_older_run_takes_the_vocabulary_of_its_prepared_text(folder: Path) -> None:
    expected = load(folder)[1]
    (folder / "vocabulary.json").unlink()
    assert load(folder)[1] == expected


def test_an_older_run_without_its_data_says_how_to_get_a_vocabulary(
    trained: Path, tmp_path: Path, launch: Launch
) -> None:
    root = shutil.copytree(trained.parent.parent, tmp_path / "older runs")
    (folder,) = (root / "runs").iterdir()
    expected = (folder / "vocabulary.json").read_text()
    (folder / "vocabulary.json").unlink()
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(str(trained.parent.parent), str(root)))
    shutil.rmtree(root / "data")
    with pytest.raises(UserError, match=r"no vocabulary\.json \(trained by an older") as refusal:
        load(folder)
    _, _, command = str(refusal.value).partition(f": {LAUNCH} ")
    # The text's path is part of a run's identity, and has stayed where it was.
    end = launch(*shlex.split(command), f"data.path={trained.parent.parent / 'sums.txt'}")
    assert "done already" in end.stdout, end.stderr
    assert (folder / "vocabulary.json").read_text() == expected
    load(folder)


def test_what_is_no_path_is_refused() -> None:
    for wrong in (None, 3):
        for read_or_load in (load, read):
            with pytest.raises(ValueError, match=f"folder={wrong}: must be a path"):
                read_or_load(cast(str, wrong))
