"""Flags are Hydra's; a mistake in them is one line instead of a list of all there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser

from adaspan.config.flags import checked, flags_parser
from adaspan.errors import UserError


def test_the_flags_are_those_of_hydra_less_the_one_that_opens_a_pickle() -> None:
    hydra, ours = (
        {*parser._option_string_actions} for parser in (get_args_parser(), flags_parser())
    )
    assert hydra - ours == {"--experimental-rerun"}
    assert ours <= hydra


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train.seed=1 -m model.dim=16,32", "model.dim=16,32: put flags such as -m before all"),
        ("train.seed=1 --foo", "--foo: no such flag; python launch.py --help"),
        ("--experimental-rerun=config.pickle", "--experimental-rerun=config.pickle: no such flag"),
        ("--cfg everything", "--cfg/-c: invalid choice: 'everything' (choose from"),
        ("--config-path nowhere", "--config-path nowhere: no such folder"),
        ("--config-dir", "--config-dir/-cd: expected one argument; python launch.py --help"),
    ],
)
def test_a_mistake_in_the_flags_names_the_way_out(words: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        checked(words.split())
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    "words", ["", "-m train.seed=1,2", "train.seed=1 -m", "-cd here --cfg job train.seed=1", "-i"]
)
def test_what_hydra_takes_is_let_through(words: str) -> None:
    assert checked(words.split()) == words.split()


def test_a_configuration_is_looked_for_from_this_folder_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    words = checked(["--config-path", "runs/a", "train.seed=2"])
    assert flags_parser().parse_args(words).config_path == str(tmp_path / "runs" / "a")
