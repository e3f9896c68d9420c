"""One W&B run while it is trained. Tracking never stops training: whatever goes wrong here is a
warning, and the run folder holds every figure in any case.

A run that goes on continues the same W&B run with every step once, whatever the last part was:

- online, and now online: the server says what it has; what it lacks comes from `metrics.jsonl`;
- offline, and now offline: likewise what the files lack, which W&B puts one after the other;
- offline, and now online: the server gets all of it from `metrics.jsonl`, and the offline files
  count as sent;
- online, and now offline: the files go on after the last row that the client was given. What a kill
  kept it from sending is missing on W&B then, if the files are sent as they are.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adaspan.config.schema import RunConfig
from adaspan.config.validate import TAG_LENGTH
from adaspan.runs import figures
from adaspan.runs.figures import Row
from adaspan.runs.figures.rows import head_spans
from adaspan.runs.folder import DATA_KEY, RunFolder
from adaspan.runs.identity import id_of, tracked_name
from adaspan.runs.start import Start, published, told
from adaspan.tracking import client
from adaspan.tracking.files import TrackedFiles
from adaspan.tracking.media import heatmap

# What the upload of a checkpoint may take.
_UPLOAD_SECONDS = 600

_log = logging.getLogger(__name__)


def description(
    config: RunConfig, folder: RunFolder, restarts: int | None = None
) -> dict[str, Any]:
    """What W&B gets of a run before its first row, as arguments of `Tracker`.

    Its id is the run's identity; W&B forgets nothing, so a run begun anew is another one there.

    Args:
        config: of the run.
        folder: of the run.
        restarts: how often it was begun anew; None: as the folder knows.
    """
    restarts = TrackedFiles(folder.path).restarts() if restarts is None else restarts
    values = dataclasses.asdict(config)
    group, _, key = DATA_KEY.partition(".")
    values[group][key] = folder.source.short_fingerprint()
    own = id_of(folder.path, config)
    return {
        "run_id": own + (f"r{restarts}" if restarts else ""),
        "project": config.tracking.project,
        "entity": config.tracking.entity,
        "group": config.tracking.group,
        "name": tracked_name(config.tracking.name, own),
        "values": values,
        "source": folder.source.begun_with(),
        "starts": folder.source.starts(),
        "span_limit": config.span.limit,
        "tags": [config.data.name, config.span.kind, *config.tracking.tags],
    }


def config_of_starts(starts: Sequence[Start]) -> dict[str, Any]:
    """What W&B's configuration of a run has of each start."""
    known = [start for start in starts if told(start)]
    return {"starts": [{"step": start.get("step", 0), **published(start)} for start in known]}


class Tracker:
    """One W&B run, started on construction.

    Rows need no limit on how many are logged a second: the client puts those of 15 seconds into one
    request (20,000 rows in 4 s made two).

    Args:
        mode: offline, online or disabled.
        project, entity, group: where the run belongs.
        name: what a person recognises; the folder's name if there is none.
        path: of the run folder; W&B writes below `path/wandb`.
        run_id: the same for a resumed run, and for no other.
        values: of the configuration, nested; what looks like a secret is not sent.
        source: the start that began the run, as `source.json` has it.
        starts: all of them, to which each later one adds itself.
        span_limit: the longest span, in tokens.
        earlier: rows of the run so far, one per step; none for a run that starts (over).
        tags: to find the run by.
    """

    def __init__(
        self,
        *,
        mode: str,
        project: str,
        entity: str | None,
        group: str | None,
        name: str | None,
        path: Path,
        run_id: str,
        values: dict[str, Any],
        source: Start,
        span_limit: int,
        earlier: Sequence[Row],
        starts: Sequence[Start] = (),
        tags: Sequence[str] = (),
    ) -> None:
        self._run: Any = None
        self._written = -1  # the last step that W&B already has
        self._run_id = run_id
        self._files = TrackedFiles(path)
        self._span_limit = span_limit
        if mode == "disabled":
            return
        arguments = {
            "project": project,
            "entity": entity,
            "group": group,
            "dir": path,
            "id": run_id,
            "name": name or path.name,
            "config": {
                **client.redacted(values),
                "source": published(source),
                **config_of_starts(starts),
            },
            "job_type": "train",
            "tags": [tag[:TAG_LENGTH] for tag in dict.fromkeys(tags)],
            "resume": "allow",  # a kill may have left it with rows, and us without
        }
        with self._never_stopping():
            self._files.mark_sent(False)  # whatever becomes of the rest
            self._start(mode, arguments)
            if source.get("diff"):
                self._save("diff.patch", source["diff"])
        for row in earlier:
            self.log(row)

    def _start(self, mode: str, arguments: dict[str, Any]) -> None:
        if mode == "online":
            try:
                self._run = client.start("online", arguments)
                self._written = self._run.starting_step - 1
                return
            except Exception as error:  # the network, the server, a wrong key: all alike here
                client.give_up()
                _log.warning("W&B: %s; tracking offline instead", _first_line(error))
        self._written = max((part.last_step() for part in self._files.parts()), default=-1)
        self._run = client.start("offline", arguments)

    @property
    def url(self) -> str | None:
        """Where the run can be looked at; None offline."""
        url: str | None = None if self._run is None or self._run.offline else self._run.url
        return url

    def log(self, row: Row) -> None:
        """Send a row, unless W&B has its step already; that of an evaluation with a heatmap."""
        if self._run is not None and row["step"] > self._written:
            values = {key: value for key, value in row.items() if key != "step"}
            with self._never_stopping():
                if spans := head_spans(row):
                    values[figures.HEATMAP.key] = client.image(heatmap(spans, self._span_limit))
                self._run.log(values, step=row["step"])

    def summarize(self, row: Row) -> None:
        """Set values in the run's summary."""
        if self._run is not None:
            with self._never_stopping():
                self._run.summary.update(_summary(row))

    def finish(self, rows: Sequence[Row], weights: Path | None) -> None:
        """End the run on W&B as done.

        Args:
            rows: all of the run. The figures of the last go into the summary, and so does a table
                of every head's span in the best weights.
            weights: the best, to be uploaded as an artifact; None: they stay here.
        """
        if self._run is not None:
            with self._never_stopping():
                try:
                    self._close(rows, weights)
                finally:  # what it holds up with a dead server is bounded, too
                    complete = self._end(exit_code=0)
                if complete:
                    self._note_all_sent()

    def leave(self, *, resumable: bool) -> None:
        """End the run on W&B before it is done: W&B shows it as preempted or as failed."""
        if self._run is not None:
            with self._never_stopping():
                if resumable:
                    self._run.mark_preempting()
                if self._end(exit_code=1):
                    self._note_all_sent()

    def _close(self, rows: Sequence[Row], weights: Path | None) -> None:
        import wandb

        final = rows[-1]
        cost = figures.EXECUTED_FLOPS.key
        executed = {key: row[key] for row in rows for key in (cost,) if key in row}
        self._run.summary.update(_summary(executed | final))
        best = next(row for row in rows if row["step"] == final[figures.BEST_STEP.key])
        self._run.summary["spans"] = wandb.Table(["layer", "head", "span"], head_spans(best))
        if weights:
            artifact = wandb.Artifact(f"adaspan-{self._run_id}", "model", metadata=_summary(final))
            artifact.add_file(str(weights), skip_cache=True, policy="immutable")  # no copies
            logged = self._run.log_artifact(artifact, aliases=["best"])
            if not self._run.offline:
                logged.wait(_UPLOAD_SECONDS)

    def _end(self, exit_code: int) -> bool:
        """End the W&B run; whether its server has everything now.

        Raises:
            TimeoutError: it has not, and should.
        """
        online = not self._run.offline
        try:
            self._run.finish(exit_code)
        except TimeoutError:
            raise TimeoutError(
                f"not all was sent within {client.finish_seconds():.0f} s, `adaspan sync` sends "
                "the rest"
            ) from None
        return online

    def _note_all_sent(self) -> None:
        self._files.mark_sent(True)
        for part in self._files.parts():
            if part.is_offline:
                part.mark_sent(True)

    def _save(self, name: str, content: str) -> None:
        """Make a text a file of the W&B run."""
        path = Path(self._run.dir) / name
        path.write_text(content)
        self._run.save(path, base_path=path.parent, policy="now")

    @contextmanager
    def _never_stopping(self) -> Iterator[None]:
        """At the first failure of W&B warn once, and go on without it."""
        try:
            yield
        except Exception as error:  # W&B raises what its broken pipes raise: no narrower class
            _log.warning(
                "W&B failed: %s; training goes on, the run folder has every figure",
                _first_line(error),
            )
            self._run = None


def _summary(row: Row) -> Row:
    return {figures.summary_name(key): value for key, value in row.items() if key != "step"}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
