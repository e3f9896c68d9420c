"""What a run writes down and shows while it is trained: in its folder, on W&B, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from adaspan.config.moved import was_moved
from adaspan.config.resolved import has_places_of, read_values, to_yaml
from adaspan.config.schema import RunConfig
from adaspan.data import Corpus
from adaspan.errors import RunError
from adaspan.runs import figures
from adaspan.runs.code.fingerprint import code_of_run, in_words
from adaspan.runs.failures import FailureClass, State, failure_of
from adaspan.runs.figures import Row
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import identity_record
from adaspan.runs.other_code import files_changed_since
from adaspan.tracking.run import Tracker, description
from adaspan.train.rows import best_row
from adaspan.train.summary import opening_lines
from adaspan.train.terminal import Terminal
from adaspan.train.trainer import Trainer


class Record:
    """One process's part in the record of a run: the main process writes it, the others write only
    why they failed.

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

    def begin(
        self,
        corpus: Corpus,
        trainer: Trainer,
        computing: Mapping[str, Any],
        from_another: str | None = None,
    ) -> None:
        """Write down that the run starts, or goes on from a checkpoint.

        Args:
            corpus: what it reads.
            trainer: about to make its next update.
            computing: what `auto` became, by name.
            from_another: where it begins, if there is another run that it may continue.
        """
        if not self._is_main:
            return
        step = trainer.step
        before = self._config_as_written()
        moved_from = before["output_dir"] if before and was_moved(self.folder.path, before) else ""
        is_for_one_start = self._config.train.accept_other_code
        if not (step and has_places_of(self._config, before)) or moved_from or is_for_one_start:
            self.folder.write_config(to_yaml(self._config))
        code = code_of_run(self._config.extensions)
        changed = files_changed_since(self.folder, code)
        source = self.folder.source
        known = {**identity_record(self.folder.path, self._config), **computing}
        source.add_start(step, corpus.fingerprint, code, known, corpus.described())
        self.folder.cut_back(step)
        self.folder.set_status(State.RUNNING, step)
        for line in opening_lines(self._config, corpus, trainer, computing, self.folder.path):
            self.terminal.line(line)
        if from_another:
            self.terminal.line(from_another)
            if reasons := self._inexact_after(step):
                self.terminal.line(
                    f"its last bits may differ from those of a run in one piece: {reasons}"
                )
        elif step:
            self.terminal.line(f"going on from step {step}")
            if moved_from:
                self.terminal.line(f"moved here from {moved_from}")
            if unlike := source.unlike_before():
                self.terminal.line(f"not as when it was last started: {' · '.join(unlike)}")
            if changed:
                self.terminal.line(f"by other code than before: {in_words(changed)}")
        self._tracker = Tracker(
            mode=self._config.tracking.mode,
            path=self.folder.path,
            earlier=self.folder.rows(),
            **description(self._config, self.folder),
        )
        if self._tracker.url:
            self.terminal.line(f"W&B     {self._tracker.url}")
        if trainer.best_step:
            self.note_best(trainer)

    def _config_as_written(self) -> dict[str, Any]:
        """Its values; empty if it is gone or damaged, and so written again."""
        with suppress(RunError):
            return read_values(self.folder.path)
        return {}

    def _inexact_after(self, step: int) -> str:
        """Why updates of another run are not to the bit those of this one; empty if they are."""
        unlike = self.folder.source.unlike_what_it_continues()
        compiled = self._config.train.compile
        reasons = [f"up to step {step} it had {', '.join(unlike)}"] if unlike else []
        return "; ".join([*reasons, *["train.compile=true resumes inexactly"] * compiled])

    def add(self, row: Row) -> None:
        """Add a row of metrics."""
        if self._tracker:
            self.folder.append(row)
            self._tracker.log(row)
            self.folder.set_status(State.RUNNING, row[figures.STEP.key])

    def note_best(self, trainer: Trainer) -> None:
        """Have W&B show the best evaluation so far."""
        if self._tracker:
            self._tracker.summarize(best_row(trainer))

    def last_quick(self) -> float:
        """The score of the last quick evaluation that was recorded."""
        scores = map(figures.QUICK.value, reversed(self.folder.rows()))
        return next(score for score in scores if score is not None)

    def last_of_training(self) -> Row:
        """The last row that says what an update executed."""
        rows = reversed(self.folder.rows())
        return next(row for row in rows if figures.EXECUTED_FLOPS.key in row)

    def finish(self, final: Row, weights: Path) -> None:
        """Write down that the run is done.

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
            **{
                figure.status_name: final[figure.key]
                for score in (figures.VALID, figures.TEST)
                if (figure := score.within(final))
            },
        )

    def suspend(self, step: int) -> None:
        """Write down that the run was stopped and can go on."""
        if self._is_main:
            self.folder.set_status(State.RESUMABLE, step)
        if self._tracker:
            self._tracker.leave(resumable=True)

    def fail(self, step: int, error: Exception) -> None:
        """Write down why the run failed, unless this process only lost the one that knows."""
        failure = failure_of(error)
        lost_another = failure.kind == FailureClass.NODE
        with suppress(OSError):  # the disk may be what failed
            is_known = lost_another and self.folder.state == State.FAILED
            if not is_known and (self._is_main or not lost_another):
                self.folder.set_failed(step, failure)
            if self._tracker:
                self._tracker.leave(resumable=False)
