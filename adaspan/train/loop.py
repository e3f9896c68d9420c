"""One process's time with a run: resume, update after update, evaluate, finish or leave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from adaspan.config.schema import RunConfig
from adaspan.data import Corpus, Tokens
from adaspan.errors import RunError, UserError
from adaspan.files import write_json
from adaspan.runs.figures import Row
from adaspan.runs.folder import RunFolder
from adaspan.runs.length import evaluates
from adaspan.runs.slices import Slices
from adaspan.signals import StopRequest
from adaspan.train.build import kind_errors_as_one_line
from adaspan.train.checkpoint import Checkpoints
from adaspan.train.device import autocast, computing_on, precision_name
from adaspan.train.distributed import Processes, lost_peers_as_one_line
from adaspan.train.extend import begin_with_another_run
from adaspan.train.out_of_memory import (
    LESS_FOR_THE_MODEL,
    LESS_FOR_TRAINING,
    memory_errors_as_one_line,
)
from adaspan.train.profile import profiled
from adaspan.train.record import Record
from adaspan.train.rows import (
    TrainingRows,
    check_own_figures,
    entropy_row,
    evaluation_row,
    final_row,
    own_figures,
)
from adaspan.train.run_score import RunScorer
from adaspan.train.state import best_state_of, resume_from, state_of, take_best
from adaspan.train.summary import closing_lines, evaluation_line, progress
from adaspan.train.terminal import Terminal
from adaspan.train.token_spans import token_spans
from adaspan.train.trainer import Trainer


def train_in_session(
    *,
    config: RunConfig,
    corpus: Corpus,
    device: torch.device,
    processes: Processes,
    stop: StopRequest,
    folder: RunFolder,
) -> None:
    """Train a run whose folder is locked, from its start or newest checkpoint to its end.

    Raises:
        UserError: the run cannot go on here; nothing of it has changed.
        RunError: it failed; its status says why.
        SystemExit: a signal stopped it after its state was saved; 128 + the signal's number.
    """
    log = folder.log if processes.is_main else None
    with Terminal(log, config.train.steps, stop.leave_unread) as terminal:
        record = Record(config, folder, terminal, is_main=processes.is_main)
        try:
            with kind_errors_as_one_line(), memory_errors_as_one_line(device, LESS_FOR_THE_MODEL):
                trainer = Trainer(config, corpus, device, processes)
        except Exception as error:
            record.fail(folder.status().get("step", 0), error)
            raise
        session = Session(
            config=config,
            corpus=corpus,
            device=device,
            processes=processes,
            stop=stop,
            record=record,
            trainer=trainer,
        )
        session.train()


class Session:
    """One process's time with a run, from its start or resume to its end or interruption."""

    def __init__(
        self,
        *,
        config: RunConfig,
        corpus: Corpus,
        device: torch.device,
        processes: Processes,
        stop: StopRequest,
        record: Record,
        trainer: Trainer,
    ) -> None:
        self._config = config
        self._corpus = corpus
        self._device = device
        self._processes = processes
        self._stop = stop
        self._record = record
        self._folder = record.folder
        self._terminal = record.terminal
        self._trainer = trainer
        self._checkpoints = Checkpoints(record.folder.checkpoints)
        self._scorer = RunScorer(config, trainer, device, processes)
        self._from_another: str | None = None  # where it begins, if there is another such run

    def train(self) -> None:
        """Train to the end, and write down how it ended, whatever happens."""
        try:
            with (
                kind_errors_as_one_line(),
                lost_peers_as_one_line(),
                memory_errors_as_one_line(self._device, LESS_FOR_TRAINING),
            ):
                self._resume()
                with self._profiled() as updated:
                    self._loop(updated)
                self._finish()
        except _Stopped as stopped:
            self._record.suspend(self._trainer.step)
            without = " without train.restart=true" if self._config.train.restart else ""
            self._terminal.line(
                f"stopped at step {self._trainer.step}, all saved; "
                f"the same command{without} goes on from there"
            )
            raise SystemExit(128 + stopped.signal) from None
        except KeyboardInterrupt:
            self._record.suspend(self._trainer.step)
            raise
        except UserError:
            raise
        except Exception as error:
            self._record.fail(self._trainer.step, error)
            raise

    def _resume(self) -> None:
        """Go on from the newest checkpoint; where there is none, from another run's if one fits."""
        trainer = self._trainer
        self._processes.main_process_first(self._begin)
        if (state := self._checkpoints.load_newest()) is not None:
            resume_from(state, trainer)
        check_own_figures(trainer, self._corpus.valid)
        self._processes.require_alike("checkpoint", f"step {trainer.step}")
        self._record.begin(self._corpus, trainer, self._computing(), self._from_another)

    def _begin(self) -> int:
        if self._config.train.extend and self._checkpoints.is_empty():
            self._from_another = begin_with_another_run(
                self._config, self._folder, self._corpus, self._trainer
            )
        return 0

    def _computing(self) -> dict[str, Any]:
        """What `auto` became."""
        return {
            **computing_on(self._device),
            "precision": precision_name(self._trainer.precision),
            "attention": self._trainer.model.attention,
            "processes": self._processes.world_size,
            "threads": torch.get_num_threads(),
        }

    def _profiled(self) -> AbstractContextManager[Callable[[], None]]:
        """Watches the updates inside if asked to; what it gives is called after each."""
        if not (self._config.train.profile and self._processes.is_main):
            return nullcontext(lambda: None)
        return profiled(self._device, self._folder.trace, self._terminal.line)

    def _loop(self, updated: Callable[[], None]) -> None:
        trainer, settings = self._trainer, self._config.train
        rows = TrainingRows(trainer, self._device, self._processes.world_size)
        self._terminal.start_bar(trainer.step)
        rows.clock.go()
        while trainer.step < settings.steps:
            trainer.update()
            updated()
            step = trainer.step
            self._terminal.advance(step)
            last = step == settings.steps
            is_evaluated = evaluates(self._config, step)
            if is_evaluated or step % settings.log_every == 0:
                row = rows.next()
                self._terminal.show_progress(progress(row))
                if is_evaluated:
                    row |= self._evaluate()
                    self._terminal.line(evaluation_line(row, settings.steps))
                self._record.add(row)
            stop = self._processes.all_reduce_max(self._stop.signal)
            if stop or last or step % settings.checkpoint_every == 0:
                rows.clock.pause()
                self._save()
            if stop:
                raise _Stopped(stop)
            rows.clock.go()
        self._terminal.stop_bar()

    def _evaluate(self) -> Row:
        """A quick evaluation; keeps the weights if they are the best so far."""
        score = self._scorer.quick(self._corpus.valid)
        if self._trainer.note_if_best(score):
            self._save_best()
            self._record.note_best(self._trainer)
        own = own_figures(self._trainer, self._corpus.valid)
        return evaluation_row(self._trainer, score) | own

    def _finish(self) -> None:
        """Score the best weights on the whole of valid and test, and close the run."""
        trainer, corpus = self._trainer, self._corpus
        self._load_best()
        self._terminal.line(
            f"scoring the weights of step {trainer.best_step}, the best, on all of valid and test"
        )
        valid, slices = self._score("valid", corpus.valid)
        test, _ = self._score("test", corpus.test)
        if not self._processes.is_main:
            return
        slices.write(self._folder.slices)
        final = final_row(trainer, valid, test, self._record.last_quick())
        final |= entropy_row(trainer, self._config.data.entropy_nats(corpus.valid))
        final |= own_figures(trainer, corpus.valid)
        if trainer.model.current_spans() is None:
            self._keep_token_spans()
        last = self._record.last_of_training()
        self._record.finish(final, self._checkpoints.best)
        closing = closing_lines(self._config, corpus, trainer, final, last, self._folder.path)
        for line in closing:
            self._terminal.line(line)

    def _keep_token_spans(self) -> None:
        """Of dynamic spans: what a report draws along a sentence."""
        corpus, model = self._corpus, self._trainer.model.eval()
        with autocast(self._device, self._trainer.precision):
            spans = token_spans(model, corpus.valid, corpus.vocabulary)
        write_json(self._folder.token_spans, dataclasses.asdict(spans))

    def _score(self, split: str, tokens: Tokens) -> tuple[float, Slices]:
        """The score of all of a split and of its slices, with a bar; leaves if asked to."""
        with self._terminal.bar(f"scoring {split}") as show:

            def after_block(share: float) -> None:
                show(share)
                self._leave_if_asked()

            return self._scorer.whole(tokens, after_block)

    def _leave_if_asked(self) -> None:
        if stop := self._processes.all_reduce_max(self._stop.signal):
            raise _Stopped(stop)

    def _save(self) -> None:
        state = state_of(self._trainer)
        if state is not None:
            self._checkpoints.save(self._trainer.step, state)

    def _save_best(self) -> None:
        if self._processes.is_main:
            self._checkpoints.save_best(best_state_of(self._trainer))

    def _load_best(self) -> None:
        """The best weights; those of the last step where they cannot be read."""
        try:
            take_best(self._checkpoints.load_best(), self._trainer)
        except RunError as error:
            self._terminal.line(
                f"{error}; the weights of step {self._trainer.step} are taken for the best"
            )
            self._trainer.take_for_best(self._record.last_quick())
            self._save_best()


class _Stopped(Exception):
    """A signal asked to leave, and the last checkpoint holds all there is to save."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal
