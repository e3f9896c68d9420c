"""Every mistake is one line that names the key, the value and what is allowed; exit code 2."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from adaspan.config.validate import validate_shares
from adaspan.errors import UserError
from tests.conftest import Launch, compose_run

MISTAKES = [
    ("model.dims=3", "model.dims=3: no such key; did you mean model.dim?"),
    ("modle=small", "modle=small: no such key; did you mean model?"),
    (
        "data.path=README.md",
        "data.path=README.md: data=stdlib has no such key; data=text has it",
    ),
    ("+nothing=3", "nothing=3: no such key; one of model, span, data"),
    ("model=smal", "model=smal: no such option; did you mean small?"),
    (
        "span=foo",
        "span=foo: no such option; one of adaptive, adaptive_8192, adaptive_full, "
        "budget, dynamic, fixed, full, local_global; name the module of one of your own: "
        "'extensions=[MODULE]'; docs/extending.md shows how to add one",
    ),
    ("model=null", "a group needs the name of one of its options"),
    ("model.dim=wide", "model.dim=wide: must be a whole number"),
    ("model.dim=null", "model.dim=null: needs a value"),
    ("span.ramp=soft", "span.ramp=soft: must be a number"),
    ("train.compile=perhaps", "train.compile=perhaps: must be true or false"),
    ("model.cutoffs=[9,5]", "model.cutoffs=[9, 5]: must rise, from at least 1 on"),
    (
        "model.dim=16 model.heads=2 model.cutoffs=[9,12,14]",
        "model.divisor=4: leaves the last of 4 clusters no width of model.dim=16; "
        "model.divisor=2 does",
    ),
    ("model.tied=true", "model.tied=true: works only with model.cutoffs, ids where clusters of"),
    ("model.heads=3", "model.heads=3: must divide model.dim=128; one of 1, 2, 4, 8"),
    ("model.dropout=1", "model.dropout=1.0: must be at least 0 and below 1"),
    ("span.limit=0", "span.limit=0: must be at least 1"),
    ("span.ramp=-1", "span.ramp=-1.0: must be above 0"),
    ("span.ramp=nan", "span.ramp=nan: must be a finite number"),
    ("span.initial_fraction=2", "span.initial_fraction=2.0: must lie between 0 and 1"),
    ("span.share=all", "span.share=all: must be one of head, layer, model"),
    ("span=fixed span.windows=[16,64]", "span.windows=[16, 64]: must be model.heads=4 numbers"),
    ("span=fixed span.windows=[1,2,3,9999]", "span.windows=9999: must be 1 to span.limit=1024"),
    ("span=local_global span.window=2048", "span.window=2048: must be at most span.limit=1024"),
    ("span=budget span.target=2000", "span.target=2000.0: must be at most span.limit=1024"),
    ("span=budget", "span.target: needs a value, in tokens; or give span.target_flops"),
    (
        "span=budget span.target=32 span.target_flops=3e6",
        "span.target=32 span.target_flops=3e+06: only one of them can be kept to; leave one out",
    ),
    (
        "span=budget span.target_flops=1e6",
        "span.target_flops=1e+06: must be above 1.57286e+06, what this model takes without spans, "
        "and at most 3.67002e+06, with all at span.limit=1024",
    ),
    (
        "span=budget span.target=32 span.initial_fraction=1 train.steps=100",
        "span.target_after=200: must be at most train.steps=100, or the target is not reached",
    ),
    (
        "span=budget span.loss_coefficient=1e-6",
        "span.loss_coefficient=1e-6: span=budget has no such key; span=adaptive and span=dynamic",
    ),
    ("train.micro_batches=5", "train.micro_batches=5: must divide train.batch_size=12"),
    (
        "train.attention=fast",
        "train.attention=fast: must be one of auto, banded, triton, reference; name the "
        "module of one of your own: 'ext",
    ),
    ("output_dir=README.md/runs", "README.md is a file, must be a folder"),
    ("train.seed=18446744073709551616", "train.seed=18446744073709551616: must be at least 0 and"),
    (
        "optimizer.cooldown_steps=2000",
        "cooldown_steps=2000: must be at most train.steps=1000; optimizer.cooldown_steps=0: none",
    ),
    (f"tracking.name={'x' * 129}", "x: must be at most 128 characters long"),
    (f"tracking.tags=[a,{'x' * 65}]", "x: a tag has 1 to 64 characters"),
    ("model.dim", "model.dim: cannot be read; write key=value"),
    ("span.limit=16,", "span.limit=16,: cannot be read; leave out the space after the comma"),
    ("train.seed=a=b", "train.seed=a=b: cannot be read; quote the value: \"train.seed='a=b'\""),
    ("span=fixed,adaptive", "span=fixed,adaptive: several values; add -m to train one"),
    (
        "data=text data.path=x,y",
        "several values; add -m to train one run for each, or quote a value that has commas: "
        "\"data.path='x,y'\"",
    ),
    ("tracking.tags=x", "tracking.tags=x: must be a list: [a,b]"),
    ("+model=small", "model: chosen already; write model=OPTION, without a plus"),
    ("+span.limit=3", "span.limit: has a value already; write span.limit=VALUE, without a plus"),
    ("span.limit=${spam}", "span.limit: Interpolation key 'spam' not found"),
    ("~span", "span: choose one, span=fixed, span=local_global, span=adaptive, span=budget,"),
    ("span.limit=99999999999999999999", "span.limit=99999999999999999999: must be at most"),
    ("train.device=cuda:99999999999", "train.device=cuda:99999999999: must be auto, cpu, cuda or"),
    ("output_dir=", "output_dir='': must name a folder"),
    ("data=text", "data.path: needs a value"),
    ("data=text data.path=/nowhere/at/all", "data.path=/nowhere/at/all: no such file"),
    ("data=text data.path=/", "data.path=/: has no file for train, such as train.txt; name them"),
    ("data=enwik8 data.archive=/nowhere", "data.archive=/nowhere: no such file"),
    ("output_dir=/proc/x", "output_dir=/proc/x: cannot be created"),
]

# Of rules that are among those above, for other keys.
MORE_MISTAKES = [
    ("steps=10", "steps=10: no such key; did you mean train.steps?"),
    ("+model.nothing=3", "model.nothing=3: no such key; one of layers"),
    ("experiment=nothing", "experiment=nothing: no such option; one of"),
    ("model.dim=1.5", "model.dim=1.5: must be a whole number"),
    ("model.persistent=-1", "model.persistent=-1: must be at least 0"),
    ("model.cutoffs=[0]", "model.cutoffs=[0]: must rise, from at least 1 on"),
    ("model.divisor=0", "model.divisor=0: must be at least 1"),
    ("model.ffn_dim=-1", "model.ffn_dim=-1: must be at least 0"),
    ("model.layers=0", "model.layers=0: must be at least 1"),
    ("span.loss_coefficient=-1e-6", "span.loss_coefficient=-1e-06: must be at least 0"),
    ("span.penalty_after=-1", "span.penalty_after=-1: must be at least 0"),
    ("span=fixed span.windows=[1,2,3,x]", "span.windows=x: must be whole numbers, or a list of"),
    ("span=fixed span.windows=[[1,2,3,4]]", "span.windows: must have model.layers=4 lists, has 1"),
    (
        "span=fixed span.windows=[[1,2,3,4],[1,2,3,4],[1,2,3],[1,2,3,4]]",
        "span.windows=[1, 2, 3]: must be model.heads=4 numbers",
    ),
    ("span=local_global span.local_layers=0", "span.local_layers=0: must be at least 1"),
    ("span=budget span.target=0", "span.target=0.0: must be above 0"),
    ("train.eval_fraction=0", "train.eval_fraction=0.0: must be above 0"),
    ("train.precision=half", "train.precision=half: must be one of auto, float32, bfloat16"),
    ("optimizer.lr=0", "optimizer.lr=0.0: must be above 0"),
    ("optimizer.lr=inf", "optimizer.lr=inf: must be a finite number"),
    ("tracking.mode=perhaps", "tracking.mode=perhaps: must be one of offline, online, disabled"),
    ("tracking.tags=['']", "tracking.tags=: a tag has 1 to 64 characters"),
    ("model.heads=[1", "model.heads=[1: cannot be read; write key=value"),
    ("tracking.tags=[a,", "tracking.tags=[a,: cannot be read; leave out the space after the comma"),
    ("foo.bar=1", "foo.bar=1: no such key; one of model, span, data"),
    ("data=text data.path=/dev/null", "data.path=/dev/null: the file is empty"),
    ("output_dir=/dev/null", "output_dir=/dev/null: /dev/null is a file, must be a folder"),
]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [*MISTAKES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE_MISTAKES)],
)
def test_a_mistake_is_one_clear_line(
    overrides: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        compose_run(*overrides.split())
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("adaspan: error: ")
    assert message in line


@pytest.mark.parametrize("word", ["model.dim", "model.heads=[1", "train.seed=a=b"])
def test_a_word_that_cannot_be_read_is_told_by_the_program_too(
    word: str, launch_here: Launch
) -> None:
    """It looks for extensions among the words before Hydra reads them."""
    end = launch_here(word)
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line.startswith(f"adaspan: error: {word}: cannot be read; ")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a=b.txt", "it's.txt", "naïve (1).txt", "a,b.txt", "c, d=e.txt"])
def test_a_value_that_needs_quotes_is_taken_or_read_as_the_error_says(
    name: str, launch_here: Launch, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("to be or not to be")
    end = launch_here("data=text", f"data.path={name}", "--cfg", "job")
    if end.returncode:
        (word,) = shlex.split(end.stderr[end.stderr.index('"') :])
        end = launch_here("data=text", word, "--cfg", "job")
    assert f"path: {name}" in end.stdout


def test_a_key_of_another_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compose_run("span=fixed", "span.ramp=3")
    assert (
        "span.ramp=3: span=fixed has no such key; span=adaptive and span=budget and span=dynamic "
        "have it" in capsys.readouterr().err
    )


def test_all_mistakes_are_listed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compose_run("model.heads=3", "span.limit=0", "optimizer.lr=-1")
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_kind_cannot_be_renamed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compose_run("span.kind=fixed")
    assert "span.kind=fixed: write span=fixed instead" in capsys.readouterr().err


def test_launch_refuses_before_anything_is_read_or_written(launch: Launch, tmp_path: Path) -> None:
    end = launch("model.heads=3", f"data_dir={tmp_path / 'data'}")
    assert end.returncode == 2
    assert end.stdout == ""
    message = "model.heads=3: must divide model.dim=128; one of 1, 2, 4, 8, 16, 32, 64, 128"
    assert end.stderr == f"adaspan: error: {message}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cuda:99", "tpu", "mps"])
def test_a_device_that_is_not_there_is_refused_before_data_is_read(
    launch_here: Launch, tmp_path: Path, device: str
) -> None:
    end = launch_here(f"train.device={device}", f"data_dir={tmp_path / 'data'}")
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert f"train.device={device}" in line
    assert "cpu" in line
    assert not (tmp_path / "data").exists()


def test_a_cluster_does_not_silently_pass_over_a_single_run(
    launch_here: Launch, tmp_path: Path
) -> None:
    end = launch_here("hydra/launcher=slurm")
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line.startswith("adaspan: error: hydra/launcher=slurm: ")
    assert "add -m" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "word",
    ["hydra.launcher.dry_run=true", "hydra.launcher.processes=2", "hydra.sweeper.params=null"],
)
def test_a_preview_of_a_single_run_is_no_training(
    word: str, launch_here: Launch, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    end = launch_here(*tiny, word)
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line == f"adaspan: error: {word}: works only with -m; add -m even for a single run"
    assert not (tmp_path / "runs").exists()
    assert launch_here("-m", *tiny, "hydra.launcher.dry_run=true", word).returncode == 0


def test_a_folder_of_options_that_is_not_there_is_told_with_what_it_is_for(
    launch_here: Launch,
) -> None:
    end = launch_here("--config-dir", "nowhere")
    assert end.returncode == 2
    assert end.stderr == (
        "adaspan: error: --config-dir nowhere: no such folder; it is to hold options of your own, "
        "as GROUP/OPTION.yaml\n"
    )


def test_a_configuration_of_another_ending_is_told_the_right_one(launch_here: Launch) -> None:
    end = launch_here("--config-name", "config.yml")
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line.endswith("--config-name config.yml: the file's name must end in .yaml")


@pytest.mark.slow
def test_help_lists_options_of_ones_own(launch_here: Launch, tmp_path: Path) -> None:
    option = tmp_path / "own" / "span" / "my_short_span.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("defaults: [adaptive, _self_]\nlimit: 64\n")
    assert "my_short_span" in launch_here("--config-dir", "own", "--help").stdout
    assert "my_short_span" not in launch_here("--help").stdout
    shown = launch_here("--config-dir", "own", "span=my_short_span", "--cfg", "job")
    assert "limit: 64" in shown.stdout


@pytest.mark.slow
def test_what_a_cluster_could_only_refuse_later_is_refused_at_once(launch_here: Launch) -> None:
    on_a_cluster = ("-m", "hydra/launcher=slurm", "hydra.launcher.dry_run=true")
    settings = ("hydra.launcher.nodes=0", "hydra.launcher.array_parallelism=-1")
    assert launch_here(*on_a_cluster, *settings).stderr.splitlines() == [
        "adaspan: error: hydra.launcher.nodes=0: must be at least 1",
        "adaspan: error: hydra.launcher.array_parallelism=-1: must be at least 1",
    ]
    end = launch_here(*on_a_cluster, "hydra.launcher.timeout_min=1")
    assert end.stderr.startswith(
        "adaspan: error: hydra.launcher.signal_delay_s=90: must be less than the time limit, 60 s"
    )
    end = launch_here(*on_a_cluster, "hydra.launcher.nodes=2", "train.batch_size=12,13")
    assert end.returncode == 2
    assert end.stderr.splitlines() == [
        "adaspan: error: train.batch_size=13: must be divisible by the 2 processes "
        "(train.batch_size=13)"
    ]
    assert launch_here("-m", "hydra.launcher.processes=0").returncode == 2


@pytest.mark.slow
def test_this_machine_cannot_leave_its_runs_to_themselves(launch_here: Launch) -> None:
    end = launch_here("-m", "hydra.launcher.wait=false", "span.limit=64,128")
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line.startswith("adaspan: error: hydra.launcher.wait=false: ")


def test_processes_that_train_a_run_together_cannot_all_have_the_same_gpu() -> None:
    run = compose_run("train.device=cuda:1")
    validate_shares(run, processes=1)
    with pytest.raises(UserError, match=r"train\.device=cuda:1: the 2 processes need a GPU each"):
        validate_shares(run, processes=2)


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [[], ["-m"]])
def test_a_folder_that_may_not_be_written_is_told_in_one_line(
    launch_here: Launch, tiny: tuple[str, ...], sweep: list[str]
) -> None:
    end = launch_here(*sweep, *tiny, "output_dir=/sys/adaspan")  # where not even root may write
    assert end.returncode == 1
    (line,) = end.stderr.splitlines()
    assert line.startswith("adaspan: error: /sys/adaspan")
    assert "fix this" in line


def test_a_text_that_is_too_short_is_refused_with_its_sizes(
    launch_here: Launch, tmp_path: Path
) -> None:
    (tmp_path / "short.txt").write_text("far too short\n" * 10)
    end = launch_here("data=text", "data.path=short.txt", f"data_dir={tmp_path / 'data'}")
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert (
        "data.path=short.txt: the text is too short: tokens are train 126, valid 7, test 7" in line
    )


def test_splits_that_are_too_short_are_named(launch_here: Launch, tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text(f"far too short for {split}\n")
    splits = [f"data.{split}={split}.txt" for split in ("train", "valid", "test")]
    end = launch_here("data=text", *splits, f"data_dir={tmp_path / 'data'}")
    assert end.returncode == 2
    told = f"adaspan: error: {' '.join(splits)}: the text is too short: tokens are train 24, "
    assert end.stderr.startswith(told)


def test_a_file_is_no_two_splits(launch_here: Launch, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a text\n")
    (tmp_path / "b.txt").write_text("a text\n")
    (tmp_path / "link.txt").symlink_to("a.txt")
    splits = ("data.train=a.txt", "data.valid=b.txt", "data.test=link.txt")
    end = launch_here("data=text", *splits, f"data_dir={tmp_path / 'data'}")
    told = "is the file of data.train, too; each split needs a text of its own\n"
    assert (end.returncode, end.stderr) == (2, f"adaspan: error: data.test=a.txt: {told}")


def test_flags_that_contradict_each_other_are_one_line(launch_here: Launch) -> None:
    end = launch_here("-m", "--cfg", "job")
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line.startswith("adaspan: error: Only one of --run, --multirun, --cfg")


def test_help_shows_the_groups_and_the_keys_that_matter(launch: Launch) -> None:
    end = launch("--help")
    assert end.returncode == 0
    for word in ("model", "tiny", "span", "adaptive", "span.loss_coefficient", "train.steps"):
        assert word in end.stdout
    assert "_schema" not in end.stdout


def test_cfg_job_prints_the_composed_configuration(launch_here: Launch) -> None:
    end = launch_here("--cfg", "job", "model=small", "span.limit=77")
    assert end.returncode == 0
    assert "layers: 8" in end.stdout
    assert "limit: 77" in end.stdout
