"""How W&B's client is started: what it may send, how long it may take, who may read its files."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from PIL.Image import Image

from adaspan.tracking.files import TrackedFiles
from adaspan.tracking.internals import make_settings

# What a server that refuses or is dead may cost a run at its start, and at its end, when a job that
# is asked to leave has little more.
_START_SECONDS = 30.0
_FINISH_SECONDS = 30.0
_GIVE_UP_SECONDS = 1.0

_SECRET = re.compile("key|token|secret|password", re.IGNORECASE)

_USER_HAS_A_PLACE = "WANDB_DATA_DIR" in os.environ

_log = logging.getLogger(__name__)


def start(mode: Literal["online", "offline"], arguments: dict[str, Any]) -> Any:
    """A run of W&B.

    It is started online only with a key that the server accepts, and then sends by itself, in one
    request every 15 seconds however many rows there are; for hours of a server's silence it tries
    again. Nobody else on the machine may read its files.

    Args:
        mode: where its records go.
        arguments: of `wandb.init`.

    Raises:
        Exception: whatever stands in the way: W&B's errors have no base class in common.
    """
    # Before the import: W&B reads it there.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    # Or it repeats itself on the terminal at every retry.
    wandb.setup(wandb.Settings(silent=True))
    if not _USER_HAS_A_PLACE:  # for files that wait to be sent: else in the home folder
        os.environ["WANDB_DATA_DIR"] = str(TrackedFiles(Path(arguments["dir"])).path)
    logging.raiseExceptions = False  # W&B's own log on a full disk must not print tracebacks
    with _private_files():
        if mode == "online":
            if (forbidden := os.environ.get("WANDB_MODE", "online")) != "online":
                raise RuntimeError(f"WANDB_MODE={forbidden} forbids it")
            _warn_of_open_netrc()
            if not wandb.login(prompt=False):
                raise RuntimeError("no key (`wandb login` or WANDB_API_KEY)")
        return wandb.init(settings=_settings(mode), **arguments)


def give_up() -> None:
    """End a start that failed, or the run's id would count as in use."""
    import wandb

    # Its server may still be answering what was just given up; to break the connection then can
    # make the client wait for minutes.
    time.sleep(_GIVE_UP_SECONDS)
    wandb.teardown()


def finish_seconds() -> float:
    """What the end of a run may take until all is sent."""
    return float(os.environ.get("WANDB_FINISH_TIMEOUT", _FINISH_SECONDS))


def image(picture: Image) -> Any:
    """A picture as a value that can be logged."""
    import wandb

    return wandb.Image(picture)


def _settings(mode: Literal["online", "offline"]) -> Any:
    return make_settings(
        {
            "mode": mode,
            "silent": True,
            "console": "off",
            "disable_code": True,
            "disable_git": True,
            "init_timeout": float(os.environ.get("WANDB_INIT_TIMEOUT", _START_SECONDS)),
            "finish_timeout": finish_seconds(),
            "finish_timeout_raises": True,
        },
        # What a run needs to be repeated is in its folder; nothing more leaves the machine.
        privacy={"x_disable_machine_info": True, "x_save_requirements": False},
        tuning={
            "x_transaction_log_flush_interval": 1.0,  # a kill loses the last second, not fifteen
            # A week; one that gives up would end as if all was sent.
            "x_file_stream_retry_max": 10_000,
        },
    )


def redacted(values: dict[str, Any]) -> dict[str, Any]:
    """The same nested values, without those whose key looks like that of a secret."""
    return {
        key: "(redacted)"
        if _SECRET.search(key)
        else redacted(value)
        if isinstance(value, dict)
        else value
        for key, value in values.items()
    }


@contextmanager
def _private_files() -> Iterator[None]:
    """Folders and files are the user's own, and W&B's core, which starts here, keeps to it."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _warn_of_open_netrc() -> None:
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    if netrc.exists() and netrc.stat().st_mode & 0o077:
        _log.warning("%s: others may read this file and the keys in it; chmod 600 it", netrc)
