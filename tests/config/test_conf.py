"""Every file in conf/ composes into a valid run."""

from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from adaspan.config.hydra import register
from adaspan.config.kinds.registry import GROUPS, KINDS
from adaspan.config.kinds.span import AdaptiveSpanConfig, FixedSpanConfig
from adaspan.places import CONF
from tests.conftest import ROOT, compose_run

OPTIONS = [
    (path.parent.relative_to(ROOT / "conf").as_posix(), path.stem)
    for path in sorted((ROOT / "conf").rglob("*.yaml"))
    if path.parent != ROOT / "conf"
]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes(group: str, option: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("some text")
    needed = {"text": [f"data.path={tmp_path / 'text'}"], "budget": ["span.target=32"]}
    assert compose_run(f"{group}={option}", *needed.get(option, []))


@pytest.mark.parametrize("group", GROUPS)
def test_every_kind_has_a_file_and_says_its_name(group: str) -> None:
    assert {option for g, option in OPTIONS if g == group} >= set(KINDS[group])
    for kind, schema in KINDS[group].items():
        assert schema().kind == kind


def test_the_groups_are_ours_and_hydras_alone() -> None:
    """Hydra walks through every folder of its search path, a virtual environment's, too."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        groups = {group.partition("/")[0] for group in loader.list_groups("")}
    assert groups == {"_schema", "experiment", "hydra", "model", "sweeps", "tracking", *GROUPS}


def test_runs_are_tracked_without_a_network_unless_told_otherwise() -> None:
    assert compose_run().tracking.mode == "offline"


def test_the_feed_forward_is_four_times_as_wide_unless_told_otherwise() -> None:
    assert compose_run("model.dim=96").model.ffn_dim == 384
    assert compose_run("model.ffn_dim=100").model.ffn_dim == 100


def test_paths_of_ones_own_text_become_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").write_text("some text")
    monkeypatch.chdir(tmp_path)
    assert compose_run("data=text", "data.path=text").data.path == str(  # type: ignore[attr-defined]
        tmp_path / "text"
    )


def test_the_data_folder_can_be_set_for_a_whole_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADASPAN_DATA_DIR", "/scratch/adaspan")
    assert compose_run().data_dir == "/scratch/adaspan"


def test_the_small_enwik8_run_has_the_papers_settings() -> None:
    run = compose_run("experiment=enwik8_small")
    assert (run.model.layers, run.model.dim, run.model.heads, run.model.ffn_dim) == (
        8,
        256,
        4,
        1024,
    )
    assert isinstance(run.span, AdaptiveSpanConfig)
    assert (run.span.limit, run.span.ramp, run.span.loss_coefficient) == (1024, 32, 2e-6)
    assert (run.train.batch_size, run.train.block_size, run.train.steps) == (64, 256, 150_000)
    assert (run.optimizer.kind, run.optimizer.lr) == ("adagrad", 0.07)
    assert (run.optimizer.warmup_steps, run.optimizer.grad_clip) == (8000, 0.03)


def test_the_debug_run_has_everything_on() -> None:
    run = compose_run("experiment=debug")
    assert isinstance(run.span, AdaptiveSpanConfig)
    assert run.model.dropout > 0
    assert run.model.embedding_dropout > 0
    assert run.optimizer.warmup_steps > 0
    assert run.optimizer.cooldown_steps > 0
    assert run.train.micro_batches > 1
    assert run.train.steps > max(run.train.eval_every, run.train.checkpoint_every)
    assert run.train.profile
    assert run.tracking.mode == "offline"


def test_an_experiment_gives_way_to_the_command_line() -> None:
    run = compose_run("experiment=enwik8_small", "span=fixed", "train.steps=5")
    assert isinstance(run.span, FixedSpanConfig)
    assert run.train.steps == 5
