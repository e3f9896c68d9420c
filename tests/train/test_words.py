"""A run on words, from the text to its perplexity, with adaptive input and output."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from adaspan import load
from adaspan.cli import main
from tests.conftest import TINY, Launch
from tests.processes import FindFolder, assert_same, final_state, rows, train_here

WORDS = (
    *TINY,
    *("data=text", "data.symbols=words"),
    *("model.cutoffs=[6,20]", "model.divisor=2", "model.tied=true"),
    *("optimizer=adam", "optimizer.lr=3e-3"),
)


def places(text: Path, tmp_path: Path, runs: str = "runs") -> tuple[str, ...]:
    return (
        f"data.path={text}",
        f"data_dir={tmp_path / 'data'}",
        f"output_dir={tmp_path / runs}",
    )


@pytest.mark.slow
def test_a_run_on_words_is_told_in_perplexity(
    text: Path, tmp_path: Path, run_folder: FindFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(*WORDS, *places(text, tmp_path))
    lines = capsys.readouterr().out
    assert " words · " in lines
    assert "ppl     best " in lines
    assert "bpc" not in lines
    assert "bpb" not in lines
    first, *_, final = rows(run_folder())
    assert final["final/valid_ppl"] < first["train/ppl"], "it has learned"
    assert {"final/test_ppl", "best/valid_ppl", "last/valid_ppl"} <= final.keys()

    model, vocabulary, _ = load(run_folder())
    assert vocabulary.unit == "words"
    tokens = torch.tensor([vocabulary.encode("3 plus 4 is")])
    with torch.no_grad():
        sums = model(tokens).log_probs_BMV.exp().sum(-1)
    torch.testing.assert_close(sums, torch.ones(1, 4))

    runner = CliRunner()
    scored = runner.invoke(main, ["evaluate", str(run_folder()), "--device", "cpu"])
    assert scored.exit_code == 0, scored.output
    told = f"{final['final/valid_ppl']:.2f} ppl"
    assert told in scored.stdout
    written = runner.invoke(
        main, ["generate", str(run_folder()), "--prompt", "3 plus", "--tokens", "5", "--seed", "1"]
    )
    assert written.exit_code == 0, written.output
    assert "plus" in written.stdout


@pytest.mark.slow
def test_a_run_on_words_goes_on_to_the_same_bits(
    text: Path, tmp_path: Path, run_folder: FindFolder
) -> None:
    train_here(*WORDS, *places(text, tmp_path))
    again = Path(shutil.copytree(run_folder(), tmp_path / "again" / run_folder().name))
    max((again / "checkpoints").glob("step_*.pt")).unlink()
    (again / "status.json").unlink()
    train_here(*WORDS, *places(text, tmp_path, "again"))
    assert_same(final_state(again), final_state(run_folder()))
    assert rows(again) == rows(run_folder())


@pytest.mark.slow
def test_clusters_that_the_data_do_not_allow_are_one_line(
    text: Path, tmp_path: Path, launch_here: Launch
) -> None:
    for overrides, message in (
        (("data.symbols=words", "model.cutoffs=[6,2000]"), "must be below"),
        (("model.cutoffs=[6]",), "only words are numbered by how rare they are"),
    ):
        end = launch_here(*TINY, "data=text", *places(text, tmp_path), *overrides)
        assert end.returncode == 2
        (line,) = end.stderr.splitlines()
        assert line.startswith("adaspan: error: model.cutoffs=[6")
        assert message in line
