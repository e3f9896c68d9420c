"""What a run writes down and shows while it is trained: in its folder, on W&B, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from adaspan.config.frozen import to_yaml
from adaspan.config.schema import RunConfig
from adaspan.data import Corpus
from adaspan.runs import figures
from adaspan.runs.failures import FailureClass, State, failure_of
from adaspan.runs.figures import Row
from adaspan.runs.folder import RunFolder
from adaspan.tracking.run import Tracker, description
from adaspan.train.terminal import Terminal


class Record:
    """One process's part in the record of a run: the main process writes it, the others nothing
    but what they failed of.

    Args:
        config: of the run.
        folder: of the run.
        terminal: which is silent on the other processes.
        is_main: whether this is the main process.
    """

    def __init__(
        self, config: RunConfig, folder: RunFolder, terminal: Terminal, *, is_main: bool
    ) -> None:
        self._config = config
        self.folder = folder
        self.terminal = terminal
        self._is_main = is_main
        self._tracker: Tracker | None = None  # of the main process, once it has begun

    def begin(self, corpus: Corpus, step: int, opening: Sequence[str]) -> None:
        """The run starts, or goes on from the checkpoint of a step; says so in `opening` lines."""
        if not self._is_main:
            return
        if not step:
            self.folder.begin(to_yaml(self._config), corpus.fingerprint)
        self.folder.cut_back(step)
        self.folder.set_status(State.RUNNING, step)
        for line in opening:
            self.terminal.line(line)
        if step:
            self.terminal.line(f"going on from step {step}")
        self._tracker = Tracker(
            mode=self._config.tracking.mode,
            folder=self.folder.path,
            earlier=self.folder.rows(),
            **description(self._config, self.folder),
        )
        if self._tracker.url:
            self.terminal.line(f"W&B     {self._tracker.url}")

    def add(self, row: Row) -> None:
        """A row of metrics."""
        if self._tracker:
            self.folder.append(row)
            self._tracker.log(row)
            self.folder.set_status(State.RUNNING, row[figures.STEP.key])

    def best(self, row: Row) -> None:
        """The best evaluation so far, as `best_row` has it."""
        if self._tracker:
            self._tracker.summarize(row)

    def last_quick_bpc(self) -> float:
        """Of the last evaluation that was recorded."""
        rows = self.folder.rows()
        bpc: float = next(
            row[figures.QUICK_BPC.key] for row in reversed(rows) if figures.QUICK_BPC.key in row
        )
        return bpc

    def finish(self, final: Row, weights: Path) -> None:
        """The run is done.

        Args:
            final: the row of the final evaluation.
            weights: the best, which go to W&B if that is asked for.
        """
        if not self._tracker:
            return
        self.folder.append(final)
        uploaded = weights if self._config.tracking.upload_checkpoint else None
        self._tracker.finish(self.folder.rows(), uploaded)
        self.folder.set_status(
            State.DONE,
            final[figures.STEP.key],
            valid_bpc=final[figures.VALID_BPC.key],
            test_bpc=final[figures.TEST_BPC.key],
        )

    def suspend(self, step: int) -> None:
        """The run is left, and can go on."""
        if self._is_main:
            self.folder.set_status(State.RESUMABLE, step)
        if self._tracker:
            self._tracker.leave(resumable=True)

    def fail(self, step: int, error: Exception) -> None:
        """The run failed: written by the process that knows why, not by those that only lost it."""
        failure = failure_of(error)
        lost_another = failure.kind == FailureClass.NODE
        with suppress(OSError):  # the disk may be what failed
            is_known = lost_another and self.folder.state == State.FAILED
            if not is_known and (self._is_main or not lost_another):
                self.folder.set_failed(step, failure)
            if self._tracker:
                self._tracker.leave(resumable=False)
