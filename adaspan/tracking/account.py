"""Whoever is signed in to W&B, for commands that cannot do without it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from adaspan.errors import UserError
from adaspan.tracking.internals import api_errors, make_settings

_WAY_OUT = "`wandb login`, or WANDB_API_KEY"


@contextmanager
def signed_in() -> Iterator[str]:
    """Use W&B's client inside, in the name of whose key WANDB_API_KEY or .netrc has.

    Yields:
        The entity that W&B takes where none is named.

    Raises:
        UserError: there is no key, W&B refuses it or something else, or does not answer.
    """
    # Before the import: W&B reads it there.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    with tempfile.TemporaryDirectory() as scratch, _environment("WANDB_DIR", scratch):
        settings = make_settings(
            {"mode": "online", "silent": True},
            # A server that does not answer must not take minutes; the client's own answer is hours.
            tuning={
                "x_graphql_timeout_seconds": 8,
                "x_graphql_retry_max": 1,
                "x_graphql_retry_wait_max_seconds": 1,
            },
        )
        server = wandb.setup(settings).settings.base_url
        try:
            if not wandb.login(prompt=False):
                raise UserError(f"W&B: no key; {_WAY_OUT}")
            yield wandb.Api().default_entity or ""
        except api_errors() as error:
            raise UserError(f"W&B: {_explained(str(error), server)}") from error
        finally:
            wandb.teardown()


def report_titles(entity: str, project: str) -> dict[str, str]:
    """The titles of a project's reports, by their ids; only while `signed_in`.

    Raises:
        ValueError: there is no such project.
    """
    import wandb

    reports = wandb.Api().reports(f"{entity}/{project}")
    return {report.id: report.display_name or "" for report in reports}


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _explained(message: str, server: str) -> str:
    line = message.partition("\n")[0]
    if not line.startswith("Failed to authenticate"):
        return line
    if "returned error" in line:
        return f"{line}; {_WAY_OUT}"
    reason = line.rpartition(": ")[2]
    if "giving up after" in reason:
        return f"{server} answers with errors; is it well, and is WANDB_BASE_URL right?"
    return f"{server} does not answer ({reason}); is there a network, is WANDB_BASE_URL right?"
