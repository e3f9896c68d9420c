"""What we use of W&B's client beyond what it documents. Any release may take it away, so each has a
way out: what only tunes the client is left out, what keeps something private is insisted on, and
what cannot be read is said.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adaspan.errors import UserError

# How often `wandb sync` tries again before it gives up; its own answer is many hours.
FEW_RETRIES = {
    "WANDB__FILE_STREAM_RETRY_MAX": "5",
    "WANDB__FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "10",
    "WANDB__FILE_TRANSFER_RETRY_MAX": "5",
    "WANDB__FILE_TRANSFER_RETRY_WAIT_MAX_SECONDS": "10",
    "WANDB__GRAPHQL_RETRY_MAX": "5",
    "WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS": "10",
}
# Have `wandb sync` say nothing of the machine.
NO_MACHINE_INFO = {"WANDB__DISABLE_MACHINE_INFO": "true"}
_INSPECT_SECONDS = 120


class UnreadableError(RuntimeError):
    """The client does not show what is in a file of its own."""


def make_settings(
    documented: Mapping[str, Any],
    *,
    tuning: Mapping[str, Any],
    privacy: Mapping[str, Any] | None = None,
) -> Any:
    """`wandb.Settings`.

    Args:
        documented: settings that every release has.
        tuning: others, left out where the client does not know them.
        privacy: others, without which it would send what must stay here.

    Raises:
        RuntimeError: the client does not know one of `privacy`.
    """
    import wandb

    known = wandb.Settings.model_fields
    for name in privacy or {}:
        if name not in known:
            raise RuntimeError(
                f"wandb {wandb.__version__} has no setting {name} and would send more than it "
                "should; pip install a release that pyproject.toml allows"
            )
    tuned = {name: value for name, value in tuning.items() if name in known}
    return wandb.Settings(**documented, **(privacy or {}), **tuned)


def api_errors() -> tuple[type[Exception], ...]:
    """What the client raises when the server refuses or does not answer."""
    import wandb

    try:
        from wandb.sdk.lib.service.service_connection import WandbApiFailedError
    except ImportError:
        return (wandb.Error,)
    return (wandb.Error, WandbApiFailedError)


def last_step(file: Path) -> int:
    """The last step whose row the client has written to a file of its own; -1 if there is none.

    A kill can leave a summary there that is a step ahead of the rows: these count.

    Raises:
        UnreadableError: the client does not say.
    """
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    quiet = {**os.environ, "WANDB_ERROR_REPORTING": "false"}  # it would tell W&B of itself
    try:
        answer = subprocess.run(
            command, env=quiet, capture_output=True, text=True, check=True, timeout=_INSPECT_SECONDS
        )
        rows = [line for line in answer.stdout.splitlines() if '"type":"history"' in line]
        return int(json.loads(rows[-1])["history"]["item"]["_step"]) if rows else -1
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        raise UnreadableError(
            f"{file}: W&B's client does not show what is in it; `adaspan sync` sends the rest"
        ) from error


def report_specification(report: Any) -> str:
    """A report of `wandb_workspaces` as JSON; there is no other way to it without a server.

    Raises:
        UserError: this release of the package has none.
    """
    try:
        written: str = report._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    except AttributeError as error:
        raise UserError(
            "--dry-run: this release of wandb-workspaces does not show a report before it is "
            "saved; leave --dry-run out"
        ) from error
    return written
