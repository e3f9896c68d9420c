"""Another release of W&B's client, without what it never documented, is lived with or refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import wandb

from adaspan.errors import UserError
from adaspan.tracking.internals import (
    UnreadableError,
    api_errors,
    last_step,
    make_settings,
    report_specification,
)


def test_the_client_has_all_that_is_used_of_it() -> None:
    settings = make_settings(
        {"mode": "offline"},
        tuning={"x_file_stream_retry_max": 7, "x_graphql_retry_max": 3},
        privacy={"x_disable_machine_info": True},
    )
    assert (settings.x_file_stream_retry_max, settings.x_graphql_retry_max) == (7, 3)
    assert settings.x_disable_machine_info
    assert len(api_errors()) == 2


def test_what_only_tunes_is_left_out_where_it_is_unknown() -> None:
    settings = make_settings({"mode": "offline"}, tuning={"x_patience_of_a_saint": 7})
    assert settings.mode == "offline"


def test_what_keeps_something_private_is_insisted_on() -> None:
    with pytest.raises(RuntimeError, match="has no setting x_tell_nobody and would send more"):
        make_settings({"mode": "offline"}, tuning={}, privacy={"x_tell_nobody": True})


def test_errors_of_the_documented_kind_are_known_in_any_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb.sdk.lib.service.service_connection", None)
    assert api_errors() == (wandb.Error,)


@pytest.mark.slow
def test_a_file_that_the_client_does_not_show_is_named_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "run-abc.wandb"
    file.write_bytes(b"of another time")
    with pytest.raises(UnreadableError, match=r"run-abc\.wandb: .* `adaspan sync` sends the rest"):
        last_step(file)


def test_a_report_that_cannot_be_shown_is_one_line() -> None:
    with pytest.raises(UserError, match="leave --dry-run out"):
        report_specification(object())
