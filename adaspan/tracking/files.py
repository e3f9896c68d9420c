"""What W&B leaves in a run folder, and what we note beside it.

wandb/[offline-]run-<time>-<id>/run-<id>.wandb    a part: what the client wrote, once a start
    ….wandb.syncstate                             `wandb sync` has begun to send it
    ….wandb.synced                                it is sent; `wandb sync` leaves that, too
    ….wandb.last_step                             which row is its last
wandb/unsent                                      W&B does not have everything of the run yet
wandb/.sending                                    a lock of whoever sends
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
    def folder(self) -> Path:
        return self.file.parent

    @property
    def is_offline(self) -> bool:
        return self.folder.name.startswith(_OFFLINE)

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
        self.folder = path / "wandb"
        self._unsent = self.folder / "unsent"
        self._restarts = path / ".restarts"

    def parts(self) -> list[Part]:
        """In the order of their start."""
        parts = [Part(file) for file in self.folder.glob("*run-*/run-*.wandb")]
        return sorted(parts, key=lambda part: part.folder.name.removeprefix(_OFFLINE))

    def last_run_id(self) -> str | None:
        """What the client was told last, or an agent of a W&B sweep told it; None before."""
        names = (path.name.removeprefix(_OFFLINE) for path in self.folder.glob("*run-*"))
        last = max(names, default=None)
        return last.rpartition("-")[2] if last else None

    def has_news(self) -> bool:
        """Whether W&B lacks something of a run that was tracked, as far as is known here."""
        return self._unsent.exists() or any(
            part.is_offline and not part.is_sent for part in self.parts()
        )

    def mark_sent(self, sent: bool) -> None:
        """Note whether W&B has everything."""
        if sent:
            self._unsent.unlink(missing_ok=True)
        else:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._unsent.touch()

    def doubt(self) -> None:
        """Have W&B asked what it lacks, though all was sent: a run may have been deleted there."""
        if self.folder.exists():
            self.mark_sent(False)

    def sending(self) -> FileLock:
        """Holds everybody else off who wants to send the run."""
        return FileLock(self.folder / ".sending")

    def restarts(self) -> int:
        """How often the run was begun anew after W&B had heard of it."""
        return int(self._restarts.read_text()) if self._restarts.exists() else 0

    def set_restarts(self, count: int) -> None:
        """Be another run on W&B, which never takes the id of a deleted one again."""
        self._restarts.write_text(f"{count}\n")


def clear(run: RunFolder) -> None:
    """Delete all that a run has produced so far. W&B keeps what it has: see `restarts`."""
    set_aside(run)
    run.forget_aside()


def set_aside(run: RunFolder) -> None:
    """As `clear`, but until `RunFolder.forget_aside` it can still be put back."""
    tracked = TrackedFiles(run.path)
    restarts = tracked.restarts() + tracked.folder.exists()
    run.set_aside()
    if restarts:
        tracked.set_restarts(restarts)
