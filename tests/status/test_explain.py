"""The command that a run is explained with gives that very run."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from adaspan.config.resolved import to_yaml
from adaspan.files import write_json
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import run_name
from adaspan.status.explain import against_default, against_siblings, clipped_spans, command, starts
from tests.conftest import compose_run
from tests.processes import train_here

# All steps of spans are clipped.
CLIPPED = (
    "optimizer.grad_clip=1e-4",
    "span.initial_fraction=0.6",
    "train.steps=40",
    "train.eval_every=40",
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def frozen(*overrides: str) -> Path:
    """The folder of a run that was never started."""
    config = compose_run(*overrides)
    folder = RunFolder(Path(config.output_dir) / run_name(config))
    folder.freeze(to_yaml(config), "0123")
    return folder.path


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["span=fixed", "span.limit=64", "train.seed=7"],
        ["experiment=enwik8_small", "optimizer=adam", "model.dropout=0.25"],
        ["experiment=text8", "span=adaptive_8192", "span.limit=8192"],
        ["span=dynamic", "train.compile=true", "optimizer=sgd"],
    ],
)
def test_the_command_gives_the_very_run(overrides: list[str]) -> None:
    words = shlex.split(command(frozen(*overrides)))
    assert words[:2] == ["python", "launch.py"]
    assert run_name(compose_run(*words[2:])) == run_name(compose_run(*overrides))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain.txt", "it's 1=2, (odd) [name].txt"])
def test_the_command_names_a_text_of_ones_own(name: str, text: Path) -> None:
    renamed = text.rename(text.with_name(name))
    quoted = str(renamed).replace("'", "\\'")
    overrides = ["data=text", f"data.path='{quoted}'", "data.symbols=characters"]
    words = shlex.split(command(frozen(*overrides)))
    assert run_name(compose_run(*words[2:])) == run_name(compose_run(*overrides))


@pytest.mark.slow
def test_the_command_goes_on_with_a_run_wherever_it_is(tmp_path: Path) -> None:
    elsewhere = f"output_dir={tmp_path / 'else where'}"
    words = shlex.split(command(frozen(elsewhere)))
    assert compose_run(*words[2:]).output_dir == str(tmp_path / "else where")


def test_where_and_with_what_a_run_was_computed(tmp_path: Path) -> None:
    begun = {"time": 1.0, "step": 0, "commit": 40 * "a", "diff": "", "host": "node1"}
    gpu = {"device": "cuda:2", "gpu": "NVIDIA H200", "precision": "bfloat16", "threads": 8}
    other_gpu = {"device": "cuda:0", "host": "node2"}
    packages = {"packages": {"torch": "2.8.0", "wandb": "0.21.0"}}
    entries = [
        {"data_sha256": "0123"},
        begun | gpu | packages,
        begun | gpu | packages | other_gpu | {"step": 51},
        begun | gpu | packages | other_gpu | {"step": 70},
    ]
    write_json(tmp_path / "source.json", entries)
    assert starts(tmp_path) == [
        "from step 0: host node1 · device NVIDIA H200 · precision bfloat16 · threads 8 · "
        "torch 2.8.0 · commit aaaaaaaaa · uncommitted changes none",
        "from step 51: host node1, now node2",
        "from step 70: as before",
    ]


def test_of_a_run_of_an_earlier_version_no_machine_is_known(tmp_path: Path) -> None:
    write_json(tmp_path / "source.json", {"commit": "c0ffee", "data_sha256": "0123"})
    assert starts(tmp_path) == []


@pytest.mark.slow
def test_the_default_run_is_the_bare_command() -> None:
    run = frozen()
    assert command(run) == "python launch.py"
    assert against_default(run) == []


@pytest.mark.slow
def test_differences_from_the_default_and_from_siblings() -> None:
    run = frozen("span=fixed", "span.limit=64")
    siblings = [run, frozen("span=fixed"), frozen("span.limit=64")]
    assert against_default(run) == ["span: fixed, not adaptive", "span.limit: 64, not 1024"]
    assert against_siblings(run, siblings) == [
        "span: fixed, others adaptive",
        "span.limit: 64, others 1024",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "clipped", "is_told"),
    [("adagrad", 0.98, True), ("adagrad", 0.1, False), ("adam", 0.98, False)],
)
def test_spans_whose_steps_were_mostly_clipped_are_told(
    optimizer: str, clipped: float, is_told: bool
) -> None:
    path = frozen(f"optimizer={optimizer}")
    folder = RunFolder(path)
    assert clipped_spans(path) is None
    for step, share in ((10, clipped + 0.02), (20, clipped - 0.02)):
        row = {"gradient/spans_clipped": share, "gradient/spans_clipped_to": 0.25}
        pulls = {"gradient/spans_prediction_norm": 4.87, "gradient/spans_penalty_norm": 0.02}
        folder.append({"step": step} | row | pulls)
    line = clipped_spans(path)
    assert (line is not None) is is_told
    if line:
        assert line == (
            "98% of their steps were clipped, to 0.25 of their length on average; "
            "the prediction pulls at them 240 times as hard as the penalty (docs/choosing.md)"
        )


@pytest.mark.slow
def test_a_penalty_is_said_to_slow_spans_down_where_training_shows_that_it_does(
    tiny: tuple[str, ...], tmp_path: Path
) -> None:
    means, lines = [], []
    for coefficient in ("1e-4", "1e-2", "1"):
        train_here(*tiny, *CLIPPED, f"span.loss_coefficient={coefficient}")
        (path,) = (tmp_path / "runs").iterdir()
        folder = RunFolder(path.rename(tmp_path / coefficient))
        means.append(folder.rows()[-1]["span/mean"])
        lines.append(str(clipped_spans(folder.path)))
    slower = (
        "times as hard as the prediction: a larger span.loss_coefficient moves them more slowly"
    )
    assert "the prediction pulls at them" in lines[0]
    assert [slower in line for line in lines] == [False, True, True]
    assert means[1] < means[2], "and so it does"
