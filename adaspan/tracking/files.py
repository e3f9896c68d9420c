"""What W&B leaves in a run folder, and what we note beside it.

wandb/[offline-]run-<time>-<id>/run-<id>.wandb    a part: what the client wrote, once a start
    ….wandb.syncstate                             `wandb sync` has begun to send it
    ….wandb.synced                                it is sent; `wandb sync` leaves that, too
    ….wandb.last_step                             which row is its last
wandb/unsent                                      W&B does not have everything of the run yet
wandb/.sending                                    the lock of the process that sends
.restarts                                         how often it was begun anew since W&B knows it
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from adaspan.files import write_json
from adaspan.runs.folder import RunFolder
from adaspan.tracking import internals

_OFFLINE = "offline-"


@dataclass(frozen=True)
class Part:
    """What the client wrote after one start."""

    file: Path

    @property
    def path(self) -> Path:
        return self.file.parent

    @property
    def is_offline(self) -> bool:
        return self.path.name.startswith(_OFFLINE)

    @property
    def is_begun(self) -> bool:
        """Whether `wandb sync` has begun to send it."""
        return self._beside("syncstate").exists()

    @property
    def is_sent(self) -> bool:
        return self._beside("synced").exists()

    def mark_sent(self, sent: bool) -> None:
        if sent:
            self._beside("synced").touch()
        else:
            self._beside("synced").unlink(missing_ok=True)

    def last_step(self) -> int:
        """The last step whose row is in it, as W&B itself reads it; -1 if there is none.

        That takes a second, so what was read is noted beside the file: or a run would start more
        and more slowly the more often it is preempted.

        Raises:
            UnreadableError: the client does not say.
        """
        size = self.file.stat().st_size
        note = self._beside("last_step")
        if note.exists():
            noted = json.loads(note.read_text())
            if noted["bytes"] == size:
                return int(noted["last_step"])
        step = internals.last_step(self.file)
        write_json(note, {"bytes": size, "last_step": step})
        return step

    def _beside(self, ending: str) -> Path:
        return self.file.with_name(f"{self.file.name}.{ending}")


class TrackedFiles:
    """What there is of W&B in a run folder.

    Args:
        path: of the run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / "wandb"
        self._unsent = self.path / "unsent"
        self._restarts = path / ".restarts"

    def parts(self) -> list[Part]:
        """In the order of their start."""
        parts = [Part(file) for file in self.path.glob("*run-*/run-*.wandb")]
        return sorted(parts, key=lambda part: part.path.name.removeprefix(_OFFLINE))

    def last_run_id(self) -> str | None:
        """The id that the client used last, perhaps one that W&B itself chose; None before."""
        names = (path.name.removeprefix(_OFFLINE) for path in self.path.glob("*run-*"))
        last = max(names, default=None)
        return last.rpartition("-")[2] if last else None

    def has_news(self) -> bool:
        """Whether W&B lacks something of a run that was tracked, as far as the files here show."""
        return self._unsent.exists() or any(
            part.is_offline and not part.is_sent for part in self.parts()
        )

    def mark_sent(self, sent: bool) -> None:
        """Note whether W&B has everything."""
        if sent:
            self._unsent.unlink(missing_ok=True)
        else:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._unsent.touch()

    def mark_unsent(self) -> None:
        """Mark the run as unsent, so that the next sync asks W&B again: it may be deleted there."""
        if self.path.exists():
            self.mark_sent(False)

    def sending(self) -> FileLock:
        """A lock that keeps other processes from sending the run."""
        return FileLock(self.path / ".sending")

    def restarts(self) -> int:
        """How often the run was begun anew after W&B had heard of it."""
        return int(self._restarts.read_text()) if self._restarts.exists() else 0

    def set_restarts(self, count: int) -> None:
        """Make it another run on W&B, which never takes the id of a deleted run again."""
        self._restarts.write_text(f"{count}\n")


def clear(folder: RunFolder) -> None:
    """Delete all that a run has produced so far. W&B keeps what it has: see `restarts`."""
    set_aside(folder)
    folder.forget_aside()


def set_aside(folder: RunFolder) -> None:
    """Move all that away; until `RunFolder.forget_aside` it can be put back."""
    tracked = TrackedFiles(folder.path)
    restarts = tracked.restarts() + tracked.path.exists()
    folder.set_aside()
    if restarts:
        tracked.set_restarts(restarts)
