"""`adaspan evaluate` and `export`: the run's own figures again, and those of any other text."""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest
import torch

from adaspan import load
from adaspan.cli import main
from adaspan.errors import RunError
from adaspan.runs.folder import RunFolder
from tests.conftest import call
from tests.processes import of_other_code, rows
from tests.shared import SUMS, finished_run

Adaspan = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on lines of sums, as characters."""
    return finished_run(tmp_path_factory, "characters", "data.symbols=characters")


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, which finds its text where it was."""
    return shutil.copytree(trained, tmp_path / "runs" / trained.name)


@pytest.fixture
def adaspan(tmp_path: Path) -> Adaspan:
    return lambda *words: call(main, "adaspan", *words, folder=tmp_path)


def evaluated(adaspan: Adaspan, run: Path, *options: str) -> list[dict[str, Any]]:
    end = adaspan("evaluate", str(run), "--device", "cpu", "--json", *options)
    assert end.returncode == 0, end.stderr
    found: list[dict[str, Any]] = json.loads(end.stdout)
    return found


@pytest.mark.slow
def test_the_runs_own_figures_come_again_and_are_kept(adaspan: Adaspan, run: Path) -> None:
    final, metrics = rows(run)[-1], (run / "metrics.jsonl").read_bytes()
    shown = adaspan("evaluate", "sums", "--device", "cpu")
    assert shown.returncode == 0, shown.stderr
    assert re.fullmatch(
        rf"valid   {final['final/valid_bpc']:.3f} bpc · \d+ characters\n"
        rf"test    {final['final/test_bpc']:.3f} bpc · \d+ characters\n",
        shown.stdout,
    )
    kept = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    for row, split in zip(kept, ("valid", "test"), strict=True):
        assert row["split"] == split
        assert row["weights"] == "best"
        assert row["bpc"] == pytest.approx(final[f"final/{split}_bpc"], rel=1e-6)
    assert (run / "metrics.jsonl").read_bytes() == metrics
    folder = RunFolder(run)
    assert [row["code"] for row in kept] == folder.source.codes() * 2

    of_other_code(folder)
    again = adaspan("evaluate", "sums", "--device", "cpu", "--split", "test")
    assert again.stdout == shown.stdout.splitlines(keepends=True)[1]
    assert again.stderr == (
        f"adaspan: warning: {run.name} was trained by other code: "
        "adaspan/nn/span/learned.py differs\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("reading", [(1, 1), (3, 7), (64, 512)])
def test_the_figure_does_not_depend_on_batch_and_block(
    adaspan: Adaspan, run: Path, reading: tuple[int, int]
) -> None:
    final = rows(run)[-1]
    sizes = ("--batch-size", str(reading[0]), "--block-size", str(reading[1]))
    (row,) = evaluated(adaspan, run, "--split", "test", *sizes)
    assert row["bpc"] == pytest.approx(final["final/test_bpc"], rel=1e-6)


@pytest.mark.slow
def test_the_figure_of_a_long_text_is_the_same_in_one_piece_and_in_real_batches(
    adaspan: Adaspan, run: Path, tmp_path: Path
) -> None:
    model, _, _ = load(run)
    lines = (f"{i % 89} plus {i % 53} is {i % 89 + i % 53}\n" for i in range(2500))
    text = "".join(lines)
    assert len(text) > 64 * (4 * model.receptive_field() + 1), "64 pieces are read side by side"
    (tmp_path / "long.txt").write_text(text)
    whole, *others = (
        evaluated(
            adaspan, run, "--data", "long.txt", "--batch-size", batch_size, "--block-size", block
        )[0]
        for batch_size, block in (("1", "512"), ("7", "64"), ("64", "512"), ("64", "9"))
    )
    for row in others:
        assert row["tokens"] == whole["tokens"] == len(text)
        assert row["bpc"] == pytest.approx(whole["bpc"], rel=1e-6)


@pytest.mark.slow
def test_at_a_terminal_a_bar_is_shown_and_the_figures_go_where_they_are_sent(
    run: Path, tmp_path: Path
) -> None:
    program = Path(sys.executable).parent / "adaspan"
    command = f"{program} evaluate {run} --device cpu > {tmp_path / 'figures.txt'}"
    terminal = pexpect.spawn("sh", ["-c", command], timeout=120, encoding="utf-8")
    terminal.expect("valid.*━")
    terminal.expect(pexpect.EOF)
    lines = (tmp_path / "figures.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["valid", "test"]


def test_bfloat16_moves_a_figure_by_less_than_a_thousandth_of_a_bit(
    adaspan: Adaspan, run: Path
) -> None:
    exact, rounded = (
        evaluated(adaspan, run, "--split", "test", "--precision", precision)[0]
        for precision in ("float32", "bfloat16")
    )
    assert exact["bpc"] != rounded["bpc"]
    assert exact["bpc"] == pytest.approx(rounded["bpc"], abs=1e-3)


def test_a_text_of_ones_own_is_read_whole_and_unknown_symbols_are_counted(
    adaspan: Adaspan, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "known.txt").write_text("3 plus 4 is 7\n" * 20)
    (tmp_path / "other.txt").write_text("3 plus 4 is 7é\n€" * 20)
    (known,) = evaluated(adaspan, run, "--data", "known.txt")
    (other,) = evaluated(adaspan, run, "--data", "other.txt")
    assert (known["tokens"], known["unknown"]) == (280, 0)
    assert (other["tokens"], other["unknown"]) == (320, 40)
    bits_each = math.log2(0x110000)
    assert other["unknown_bits"] == pytest.approx(40 * bits_each)
    assert other["bpc"] == pytest.approx((280 * known["bpc"] + 40 * bits_each) / 320)
    told = adaspan("evaluate", str(run), "--device", "cpu", "--data", "other.txt").stdout
    assert f"40 of them unknown to the model: 20.1 bits each; without them {known['bpc']:.3f}" in (
        told
    )


@pytest.mark.parametrize("encoding", ["utf-16", "cp1251"])
def test_a_text_in_another_encoding_is_scored_as_its_refusal_advises(
    adaspan: Adaspan, run: Path, tmp_path: Path, encoding: str
) -> None:
    text = "3 плюс 4 is 7\n" * 40
    (tmp_path / "plain.txt").write_text(text)
    (tmp_path / "text.gz").write_bytes(gzip.compress(text.encode(encoding)))
    end = adaspan("evaluate", str(run), "--data", "text.gz")
    (line,) = end.stderr.splitlines()
    advised = re.search(r"--encoding (\S+) converts it$", line)
    assert (end.returncode, bool(advised)) == (2, True), line
    assert advised
    (plain,) = evaluated(adaspan, run, "--data", "plain.txt")
    (packed,) = evaluated(adaspan, run, "--data", "text.gz", "--encoding", advised[1])
    assert (packed["nats"], packed["data_sha256"]) == (plain["nats"], plain["data_sha256"])


def test_a_text_may_come_from_stdin(
    adaspan: Adaspan, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "3 plus 4 is 7\n" * 20
    (tmp_path / "text.txt").write_text(text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    (piped,) = evaluated(adaspan, run, "--data", "-")
    (read,) = evaluated(adaspan, run, "--data", "text.txt")
    assert (piped["nats"], piped["data_sha256"]) == (read["nats"], read["data_sha256"])
    assert (piped["data"], read["data"]) == ("stdin", "text.txt")


def test_weights_are_those_that_are_named(adaspan: Adaspan, run: Path) -> None:
    newest = max((run / "checkpoints").glob("step_*.pt"))
    (last,) = evaluated(adaspan, run, "--split", "test", "--weights", "last")
    (named,) = evaluated(adaspan, run, "--split", "test", "--weights", str(newest))
    assert last["nats"] == named["nats"]
    assert last["step"] == named["step"] == 60


def test_an_export_is_the_model(adaspan: Adaspan, run: Path, tmp_path: Path) -> None:
    end = adaspan("export", "sums", "out/sums")
    assert end.returncode == 0, end.stderr
    exported = tmp_path / "out" / "sums"
    files = sorted(path.name for path in exported.iterdir())
    assert files == ["config.yaml", "model.safetensors", "vocabulary.json"]
    model, vocabulary, config = load(run)
    theirs, their_vocabulary, their_config = load(exported)
    assert (vocabulary, config) == (their_vocabulary, their_config)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name])
    ours, its = (evaluated(adaspan, folder) for folder in (run, exported))
    assert [row["nats"] for row in ours] == [row["nats"] for row in its]
    written = [
        adaspan("generate", str(folder), "--device", "cpu", "--tokens", "20").stdout
        for folder in (run, exported)
    ]
    assert written[0] == written[1]


def test_an_export_never_overwrites(adaspan: Adaspan, run: Path) -> None:
    end = adaspan("export", "sums", str(run / "checkpoints"))
    assert end.returncode == 2
    assert end.stderr == f"adaspan: error: {run / 'checkpoints'}: is there already; {CHOOSE}\n"


CHOOSE = "choose a new folder"


@pytest.mark.parametrize(
    ("folder", "told"),
    [("file/out", "{}/file is a file, must be a folder"), ("/proc/out", "cannot be created")],
)
def test_a_folder_that_cannot_be_made_is_named(
    adaspan: Adaspan, run: Path, tmp_path: Path, folder: str, told: str
) -> None:
    (tmp_path / "file").write_text("")
    end = adaspan("export", str(run), folder)
    told = f"adaspan: error: FOLDER {folder}: {told.format(tmp_path)}\n"
    assert (end.returncode, end.stderr) == (2, told)
    words = ("import", "model.pt", "--data", "sums", "--runs", "/proc/runs")
    imported = adaspan(*words)
    told = "adaspan: error: --runs /proc/runs: cannot be created\n"
    assert (imported.returncode, imported.stderr) == (2, told)


def test_what_an_export_lacks_and_is_not_is_told(
    adaspan: Adaspan, run: Path, tmp_path: Path
) -> None:
    adaspan("export", "sums", "out")
    exported = tmp_path / "out"
    assert "state    an export: " in adaspan("explain", "out").stdout
    weights = ("evaluate", str(run), "--weights", "out/model.safetensors")
    lines = [adaspan(*weights).stderr]
    for name in ("vocabulary.json", "model.safetensors"):
        (exported / name).rename(tmp_path / name)
        lines.append(adaspan("generate", "out", "--device", "cpu").stderr)
        (tmp_path / name).rename(exported / name)
    assert lines == [
        "adaspan: error: out/model.safetensors: of an export; name its folder as the run\n",
        "adaspan: error: out: no vocabulary.json; export the run again\n",
        "adaspan: error: out: has no checkpoint yet, nor an export's weights\n",
    ]


def test_a_damaged_export_is_named(adaspan: Adaspan, run: Path, tmp_path: Path) -> None:
    adaspan("export", "sums", "out")
    weights = tmp_path / "out" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(RunError, match=re.escape(f"{weights}: damaged (")) as error:
        load(tmp_path / "out")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--split", ""), "--split : must be train, valid, test, or several: valid,test"),
        (("--split", "all"), "--split all: must be train, valid, test, or several: valid,test"),
        (("--split", "test", "--data", "x"), "--split, --data: leave one of them out"),
        (("--data", "nowhere.txt"), "--data nowhere.txt: No such file or directory"),
        (("--data", "latin.txt"), "--data latin.txt: is no UTF-8 text at byte 1"),
        (("--data", "other.txt"), "--data other.txt: has none of the 17 characters that the model"),
        (("--data", "empty.txt"), "--data empty.txt: has none of the 17 characters that the model"),
        (
            ("--data", "other.txt", "--encoding", "x"),
            "--encoding x: no such encoding; name one as ",
        ),
        (
            ("--encoding", "cp1251"),
            "--encoding cp1251: is of the file that --data names; add --data",
        ),
        (("--device", "cuda:7"), "--device cuda:7: must be auto, cpu, or a GPU that is here"),
    ],
)
def test_a_mistake_is_one_line(
    adaspan: Adaspan, run: Path, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    (tmp_path / "latin.txt").write_bytes(b"1\xe9")
    (tmp_path / "other.txt").write_text("ABC")
    (tmp_path / "empty.txt").write_text("")
    end = adaspan("evaluate", str(run), *options)
    assert (end.returncode, end.stdout) == (2, "")
    assert end.stderr.startswith(f"adaspan: error: {told}")
    assert len(end.stderr.splitlines()) == 1


def test_a_file_without_weights_is_named(adaspan: Adaspan, run: Path, tmp_path: Path) -> None:
    torch.save({"step": 1}, tmp_path / "empty.pt")
    (tmp_path / "text.pt").write_text("no weights")
    for name, told in (
        ("empty.pt", "empty.pt: holds no model; a run's checkpoints do"),
        ("text.pt", "text.pt: damaged (File is not a zip file)"),
        ("none.pt", "none.pt: is missing"),
    ):
        end = adaspan("evaluate", str(run), "--weights", name)
        assert (end.returncode, end.stderr) == (1, f"adaspan: error: {told}\n")


@pytest.mark.parametrize("content", [[torch.zeros(1)], torch.zeros(1), {"model": {"x": "y"}}])
def test_what_is_no_checkpoint_is_named(
    adaspan: Adaspan, run: Path, tmp_path: Path, content: object
) -> None:
    torch.save(content, tmp_path / "other.pt")
    end = adaspan("evaluate", str(run), "--weights", "other.pt")
    told = "adaspan: error: other.pt: holds no model; a run's checkpoints do\n"
    assert (end.returncode, end.stderr) == (1, told)


@pytest.mark.parametrize("name", ["evaluate", "generate", "export"])
def test_weights_that_are_no_numbers_are_not_used(
    adaspan: Adaspan, run: Path, tmp_path: Path, name: str
) -> None:
    best = run / "checkpoints" / "best.pt"
    state = torch.load(best, weights_only=True)
    state["model"]["output.bias"][3] = torch.nan
    torch.save(state, best)
    end = adaspan(name, str(run), *(["out"] if name == "export" else []))
    assert (end.returncode, end.stdout) == (1, "")
    told = f"adaspan: error: runs/{run.name}: the weights are not finite (output.bias)\n"
    assert end.stderr == told
    assert not (tmp_path / "out").exists()


def test_without_its_text_a_run_says_how_it_can_be_scored(
    adaspan: Adaspan, run: Path, tmp_path: Path
) -> None:
    adaspan("export", "sums", "out")
    for folder in (run, tmp_path / "out"):
        config = folder / "config.yaml"
        text = Path(re.search(r"path: (.*)", config.read_text())[1])  # type: ignore[index]
        gone = text.with_name("gone.txt")
        config.write_text(config.read_text().replace(str(text), str(gone)))
        end = adaspan("evaluate", str(folder), "--device", "cpu")
        told = f"data.path={gone}: no such file; --data FILE takes any text"
        assert (end.returncode, end.stderr) == (2, f"adaspan: error: {told}\n")
        (tmp_path / "folder").mkdir(exist_ok=True)
        config.write_text(config.read_text().replace(str(gone), str(tmp_path / "folder")))
        end = adaspan("evaluate", str(folder), "--device", "cpu")
        assert end.returncode == 2
        assert re.fullmatch(
            r"adaspan: error: data\.path=\S*/folder: has no file for train, .*; --data FILE .*\n",
            end.stderr,
        )


def test_another_text_than_the_runs_own_is_not_taken_for_it(
    adaspan: Adaspan, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.txt").write_text(SUMS + "1\n")
    config = run / "config.yaml"
    own = re.search(r"path: (.*)", config.read_text())
    assert own
    config.write_text(config.read_text().replace(own[1], str(tmp_path / "other.txt")))
    end = adaspan("evaluate", str(run))
    assert end.returncode == 2
    assert "is not the text that the run was begun on (sha256 " in end.stderr
    assert evaluated(adaspan, run, "--data", "other.txt")
