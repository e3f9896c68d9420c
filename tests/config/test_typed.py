"""Hydra reads what a person meant, also where its own grammar would read something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from adaspan.config.typed import as_typed, for_hydra, said_once, written
from tests.conftest import Launch

_GIT_HASH = "12e4567"  # a number to Hydra, and as one infinite


@pytest.mark.parametrize(
    "text",
    ["1e5", _GIT_HASH, "1_1_1", "007", "true", "nan", "inf", "1.10", "-3", "a=b", "naïve (1).txt"],
)
@pytest.mark.parametrize(
    "key", ["tracking.name", "data.path", "output_dir", "hydra.launcher.partition"]
)
def test_text_stays_as_typed(key: str, text: str) -> None:
    assert _value(as_typed([f"{key}={text}"])[0]) == text


def test_text_in_lists_and_sweeps_stays_as_typed() -> None:
    (tags,) = as_typed(["tracking.tags=[1e5,b,2]"])
    assert _value(tags) == ["1e5", "b", "2"]
    (names,) = as_typed(["tracking.name=1e5,b,12e4567"])
    override = OverridesParser.create().parse_override(names)
    runs = [f"tracking.name={text}" for text in override.sweep_string_iterator()]
    assert list(map(_value, runs)) == ["1e5", "b", _GIT_HASH]


@pytest.mark.parametrize(
    "word",
    [
        "tracking.name=null",
        "tracking.name='1e5'",
        "tracking.tags=['a,b',c]",
        "tracking.tags=[a",
        "data.path=a b,c=d",
        "train.seed=1e5",
        "model.dim=x=y",
        "-m",
        "experiment=enwik8",
        "~tracking",
    ],
)
def test_other_words_stay_as_they_are(word: str) -> None:
    assert as_typed([word]) == [word]


@pytest.mark.parametrize(
    "value",
    ["1e5", "true", "null", "it's", "back\\", "a\\'b", "", " a", "ü", None, True, 1.5, [1, "2"]],
)
def test_a_value_is_written_as_hydra_reads_it(value: object) -> None:
    assert _value(f"tracking.name={written(value)}") == value


def test_a_run_has_the_name_that_was_typed(launch_here: Launch) -> None:
    end = launch_here("--cfg", "job", f"tracking.name={_GIT_HASH}", "tracking.tags=[1e5]")
    assert f"name: {_GIT_HASH}\n" in end.stdout or f"name: '{_GIT_HASH}'\n" in end.stdout
    assert "- 1e5" in end.stdout or "- '1e5'" in end.stdout


def test_a_key_of_some_kinds_is_told_to_each_run_of_a_sweep() -> None:
    words = ["sweeps=span_limit", "data.archive=F.zip", "span.limit=3", "train.seed=1,2"]
    told = for_hydra(words)
    assert told == [words[0], "data.archive=choice(F.zip)", *words[2:]]
    assert [said_once(word) for word in told] == words
    assert said_once("a=choice(1,2)") == "a=choice(1,2)"
    assert for_hydra(words[1:2]) == words[1:2]  # of one run


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("sweeps=span_loss", marks=pytest.mark.slow),
        pytest.param("-m experiment=enwik8_small,enwik8", marks=pytest.mark.slow),
        "-m data=text8",
    ],
)
def test_an_archive_given_for_a_sweep_reaches_each_run(
    words: str, launch_here: Launch, tmp_path: Path
) -> None:
    """Where there is no internet, the papers' sweeps start like this."""
    (tmp_path / "F.zip").write_bytes(b"x")
    dry = ("hydra.launcher.dry_run=true", "data.archive=F.zip")
    end = launch_here(*words.split(), *dry)
    assert end.returncode == 0, end.stderr
    end = launch_here(*words.split(), "hydra.launcher.dry_run=true", "data.archive=G.zip")
    assert "G.zip: no such file" in end.stderr


def test_a_key_that_no_run_has_is_refused(launch_here: Launch) -> None:
    end = launch_here("-m", "train.seed=1,2", "data.archive=F.zip", "hydra.launcher.dry_run=true")
    assert end.returncode == 2
    assert "data.archive=F.zip: data=stdlib has no such key" in end.stderr


_CHOICES = {
    "launcher": "defaults: [override /hydra/launcher: slurm]",
    "setting": "hydra: {launcher: {fail_fast: true}}",
}


@pytest.mark.slow
@pytest.mark.parametrize("of", _CHOICES)
def test_a_launcher_that_swept_files_choose_is_refused_with_what_to_say(
    of: str, launch_here: Launch, tmp_path: Path
) -> None:
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    for name in ("one", "two"):
        (folder / f"{name}.yaml").write_text(f"# @package _global_\n{_CHOICES[of]}\n")
    words = ["-m", "--config-dir", str(tmp_path / "own"), "experiment=one,two"]
    end = launch_here(*words, "hydra.launcher.dry_run=true")
    assert end.returncode == 2
    assert end.stdout == ""
    advice = {
        line.partition("say it to the sweep: ")[2].split(" ")[0] for line in _lines(end.stderr)
    }
    (word,) = advice
    end = launch_here(*words, "hydra.launcher.dry_run=true", word)
    assert end.returncode == 0, end.stderr
    assert ("#SBATCH" in end.stdout) == (of == "launcher")


@pytest.mark.slow
def test_a_sweep_from_a_run_folder_is_one_of_ours(
    tiny: tuple[str, ...], launch_here: Launch, tmp_path: Path
) -> None:
    assert launch_here(*tiny, "train.steps=2").returncode == 0
    (run,) = (tmp_path / "runs").glob("*-*")
    words = ("-m", "--config-path", str(run), "--config-name", "config", "train.seed=2,3")
    end = launch_here(*words, "hydra/launcher=slurm", "hydra.launcher.dry_run=true")
    assert "#SBATCH" in end.stdout, end.stderr
    assert launch_here(*words).returncode == 0
    (manifest,) = (tmp_path / "runs" / "sweeps").glob("*/manifest.json")
    assert len(json.loads(manifest.read_text())["runs"]) == 2


def test_another_kind_cannot_be_chosen_for_a_runs_configuration(
    runs_of_before: Path, launch_here: Launch
) -> None:
    run = next(path.parent for path in runs_of_before.glob("*/config.yaml"))
    end = launch_here("--config-path", str(run), "span=fixed", "--cfg", "job")
    assert end.returncode == 2
    (line,) = _lines(end.stderr)
    assert "span: the configuration that --config-path names has its own span" in line


def _value(word: str) -> object:
    return OverridesParser.create().parse_override(word).value()


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]
