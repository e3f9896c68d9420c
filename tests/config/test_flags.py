"""Flags are Hydra's; a mistake in them is one line instead of a list of all there are."""

from __future__ import annotations

import sys

import pytest
from hydra._internal.utils import get_args_parser

from adaspan.config.flags import flags_parser, require_known_flags
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
        ("--config-dir", "--config-dir/-cd: expected one argument; python launch.py --help"),
    ],
)
def test_a_mistake_in_the_flags_names_the_way_out(
    words: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["launch.py", *words.split()])
    with pytest.raises(UserError) as error:
        require_known_flags()
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    "words", ["", "-m train.seed=1,2", "train.seed=1 -m", "-cd here --cfg job train.seed=1", "-i"]
)
def test_what_hydra_takes_is_let_through(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["launch.py", *words.split()])
    require_known_flags()
