"""`adaspan generate`: text alone on stdout, mistakes in one line, a clean end at any time."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from adaspan import load
from adaspan.cli import main
from adaspan.data.vocabulary import Vocabulary
from tests.conftest import TINY, call
from tests.processes import untrained
from tests.shared import finished_run

Generate = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on lines of sums."""
    return finished_run(tmp_path_factory, "finished")


@pytest.fixture
def generate(folder: Path, tmp_path: Path) -> Generate:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        words = ("adaspan", "generate", str(folder), "--device", "cpu", *options)
        return call(main, *words, folder=tmp_path)

    return run


@pytest.mark.slow
def test_the_models_text_alone_is_on_stdout(folder: Path, generate: Generate) -> None:
    end = generate("--prompt", "3 plus", "--tokens", "30", "--seed", "5", "--temperature", "0.8")
    assert end.returncode == 0, end.stderr
    model, vocabulary, _ = load(folder)
    tokens = model.generate(vocabulary.encode("3 plus"), 30, seed=5, temperature=0.8)
    assert end.stdout.removesuffix("\n") == vocabulary.decode(tokens).removesuffix("\n")
    assert re.fullmatch(r"30 tokens · \d+ tokens/s · [\d.]+k FLOPs a token\n", end.stderr)


@pytest.mark.slow
def test_sampling_is_as_asked(folder: Path, generate: Generate) -> None:
    model, vocabulary, _ = load(folder, weights="last")
    for options, tokens in (
        (("--temperature", "0"), model.generate(vocabulary.encode("1"), 20, temperature=0)),
        (("--top-k", "2"), model.generate(vocabulary.encode("1"), 20, top_k=2)),
        (("--top-p", "0.5"), model.generate(vocabulary.encode("1"), 20, top_p=0.5)),
    ):
        end = generate("--weights", "last", "--prompt", "1", "--tokens", "20", *options)
        assert end.stdout.removesuffix("\n") == vocabulary.decode(tokens).removesuffix("\n")


def test_without_a_prompt_a_line_begins(generate: Generate, tmp_path: Path) -> None:
    (tmp_path / "line.txt").write_text("\n")
    told = generate("--tokens", "20", "--prompt-file", "line.txt")
    assert generate("--tokens", "20").stdout == told.stdout


@pytest.mark.parametrize(
    ("prompt", "space"), [((), ""), (("--prompt", "it\n"), ""), (("--prompt", "it"), " ")]
)
def test_a_word_that_begins_a_line_has_no_space_before_it(
    tmp_path: Path, prompt: tuple[str, ...], space: str
) -> None:
    vocabulary = Vocabulary(("<eos>", "<unk>", "so", "it", "is"), "words")
    data = ("data=text", f"data.path={__file__}", "data.symbols=words")
    untrained(tmp_path / "words", vocabulary, *TINY, *data)
    words = ("generate", "words", "--device", "cpu", "--tokens", "1", "--seed", "4")
    end = call(main, "adaspan", *words, *prompt, folder=tmp_path)
    assert re.fullmatch(rf"{space}(so|it|is|<unk>)\n", end.stdout)


def test_unknown_words_of_the_prompt_are_told(tmp_path: Path) -> None:
    vocabulary = Vocabulary(("<eos>", "<unk>", "so", "it", "is"), "words")
    data = ("data=text", f"data.path={__file__}", "data.symbols=words")
    untrained(tmp_path / "words", vocabulary, *TINY, *data)

    def told(prompt: str) -> list[str]:
        words = ("generate", "words", "--device", "cpu", "--tokens", "3", "--prompt", prompt)
        end = call(main, "adaspan", *words, folder=tmp_path)
        assert end.returncode == 0, end.stderr
        return end.stderr.splitlines()[:-1]

    assert told("so it <unk>\nis") == []
    assert told("so häh\nis ha") == ["2 of 4 words of the prompt are unknown, read as <unk>"]


def test_a_prompt_from_a_file_is_looked_at_as_any_text(generate: Generate, tmp_path: Path) -> None:
    plain = generate("--tokens", "20", "--prompt", "3 plus").stdout
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbf3 plus")
    (tmp_path / "wide.txt").write_bytes("3 plus".encode("utf-16"))
    assert generate("--tokens", "20", "--prompt-file", "marked.txt").stdout == plain
    refused = generate("--prompt-file", "wide.txt")
    assert "--prompt-file wide.txt: is no UTF-8 but utf-16, --encoding utf-16 " in refused.stderr
    told = generate("--tokens", "20", "--prompt-file", "wide.txt", "--encoding", "utf-16")
    assert told.stdout == plain


def test_text_ends_before_the_first_stop(generate: Generate) -> None:
    whole = generate("--tokens", "60").stdout
    assert " " in whole.strip(), "something to stop at"
    cut = generate("--tokens", "60", "--stop", "####", "--stop", " ").stdout
    assert cut.removesuffix("\n") == whole[: whole.index(" ")].removesuffix("\n")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--prompt", "häh"), "--prompt: has b'h', b'\\xa4', b'\\xc3': not in the vocabulary of 1"),
        (("--prompt", "1", "--prompt-file", "-"), "--prompt, --prompt-file: leave one of them out"),
        (("--temperature", "-1"), "--temperature=-1.0: must be a finite number, at least 0"),
        (("--top-k", "0"), "--top-k=0: must be a whole number, at least 1"),
        (("--top-p", "2"), "--top-p=2.0: must be at most 1"),
        (("--seed", "-1"), "--seed=-1: must be 0 to"),
        (("--stop", ""), "--stop '': must not be empty"),
        (("--device", "gpu"), "--device gpu: must be auto, cpu, or a GPU that is here"),
    ],
)
def test_a_mistake_is_one_line(generate: Generate, options: tuple[str, ...], told: str) -> None:
    end = generate(*options)
    assert (end.returncode, end.stdout) == (2, "")
    assert end.stderr.startswith(f"adaspan: error: {told}")
    assert len(end.stderr.splitlines()) == 1


def adaspan() -> str:
    return str(Path(sys.executable).parent / "adaspan")


@pytest.mark.slow
def test_ctrl_c_ends_the_line_and_the_program(folder: Path) -> None:
    terminal = pexpect.spawn(adaspan(), ["generate", str(folder), "--tokens", "10000000"])
    terminal.expect(r"\d+ plus", timeout=60)
    terminal.sendintr()
    terminal.expect(r"FLOPs a token\r\n", timeout=30)
    assert b"Traceback" not in terminal.before
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130


@pytest.mark.slow
def test_a_reader_that_has_enough_ends_it_quietly(folder: Path) -> None:
    command = f"{adaspan()} generate {folder} --tokens 10000000 | head -c 100"
    end = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)
    assert len(end.stdout) == 100
    assert "Traceback" not in end.stderr
