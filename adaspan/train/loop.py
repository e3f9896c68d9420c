"""One process's time with a run: resume, update after update, evaluate, record, finish or leave."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

import torch

from adaspan.config.frozen import to_yaml
from adaspan.config.schema import RunConfig
from adaspan.data import Corpus, Tokens
from adaspan.errors import DiskError, NoMemoryError, NonFiniteError, RunError, UserError
from adaspan.runs import figures
from adaspan.runs.figures import Row
from adaspan.runs.folder import RunFolder
from adaspan.signals import StopRequest
from adaspan.tracking.run import Tracker, description
from adaspan.train.checkpoint import Checkpoints
from adaspan.train.device import autocast
from adaspan.train.distributed import Processes, is_lost_peer
from adaspan.train.evaluate import Piece, Score, blocks, evaluate, sample, whole_text
from adaspan.train.profile import profiled
from adaspan.train.rows import TrainingRows, best_row, evaluation_row, final_row
from adaspan.train.summary import closing_lines, evaluation_line, opening_lines, progress
from adaspan.train.terminal import Terminal
from adaspan.train.trainer import Trainer

_LESS_MEMORY = (
    "raise train.micro_batches (the same result in less memory) or lower train.batch_size; "
    "either is another run, from its start"
)
# Evaluation needs less memory than training and reads at least so many streams side by side.
_EVALUATION_BATCH = 32


class Session:
    """One process's time with a run, from its start or resume to its end or interruption."""

    def __init__(
        self,
        run: RunConfig,
        corpus: Corpus,
        device: torch.device,
        processes: Processes,
        stop: StopRequest,
        folder: RunFolder,
    ) -> None:
        self._run = run
        self._corpus = corpus
        self._device = device
        self._processes = processes
        self._stop = stop
        self._folder = folder
        self._checkpoints = Checkpoints(folder.checkpoints)
        try:
            with _memory_errors_in_words(device, "lower span.limit or model.*"):
                self._trainer = Trainer(run, corpus, device, processes)
        except Exception as error:
            folder.set_status("failed", folder.status().get("step", 0), **_failure(error))
            raise
        self._tracker: Tracker | None = None  # on the first process only
        at_once = run.train.batch_size // run.train.micro_batches
        self._evaluation_batch = max(at_once, _EVALUATION_BATCH)

    def train(self) -> None:
        """Everything, with the status kept true whatever happens."""
        log = self._folder.log if self._processes.is_first else None
        with Terminal(log, self._run.train.steps) as self._terminal:
            try:
                with _memory_errors_in_words(self._device, _LESS_MEMORY):
                    self._resume()
                    with self._profiled() as updated:
                        self._loop(updated)
                    self._finish()
            except _Stopped as stopped:
                self._suspend()
                without = " without train.restart=true" if self._run.train.restart else ""
                self._terminal.line(
                    f"stopped at step {self._trainer.step}, all saved; "
                    f"the same command{without} goes on from there"
                )
                raise SystemExit(128 + stopped.signal) from None
            except KeyboardInterrupt:
                self._suspend()
                raise
            except UserError:  # going on here is refused; the run itself is as good as before
                raise
            except Exception as error:
                self._fail(error)
                raise

    def _resume(self) -> None:
        state = self._checkpoints.load_newest()
        if state is not None:
            self._trainer.load(state)
        step = self._trainer.step
        self._rows = TrainingRows(self._trainer, self._device, self._processes.count)
        if self._processes.largest(step) != -self._processes.largest(-step):
            raise RunError(f"{self._folder.path}: the processes see different checkpoints")
        if not self._processes.is_first:
            return
        if state is None:
            self._folder.begin(to_yaml(self._run), self._corpus.fingerprint)
        self._folder.cut_back(step)
        self._folder.set_status("running", step)
        for line in opening_lines(
            self._run,
            self._corpus,
            sum(p.numel() for p in self._trainer.model.parameters()),
            f"{self._device} · {str(self._trainer.precision).removeprefix('torch.')} · "
            f"attention {self._trainer.model.attention}",
            self._folder.path,
        ):
            self._terminal.line(line)
        if step:
            self._terminal.line(f"going on from step {step}")
        self._tracker = Tracker(
            mode=self._run.tracking.mode,
            folder=self._folder.path,
            earlier=self._folder.rows(),
            **description(self._run, self._folder),
        )
        if self._tracker.url:
            self._terminal.line(f"W&B     {self._tracker.url}")
        if step and self._trainer.best_step:
            self._tracker.summarize(best_row(self._trainer))

    def _profiled(self) -> AbstractContextManager[Callable[[], None]]:
        """Watches the updates inside if asked to; what it gives is called after each."""
        if not (self._run.train.profile and self._processes.is_first):
            return nullcontext(lambda: None)
        return profiled(self._device, self._folder.trace, self._terminal.line)

    def _loop(self, updated: Callable[[], None]) -> None:
        train = self._run.train
        self._terminal.start_bar(self._trainer.step)
        self._rows.clock.go()
        while self._trainer.step < train.steps:
            self._trainer.update()
            updated()
            step = self._trainer.step
            self._terminal.advance(step)
            last = step == train.steps
            evaluates = last or step % train.eval_every == 0
            if evaluates or step % train.log_every == 0:
                row = self._rows.next()
                self._terminal.show_progress(progress(row))
                if evaluates:
                    row |= self._evaluation_row()
                    self._terminal.line(evaluation_line(row, train.steps))
                self._record(row)
            stop = self._processes.largest(self._stop.signal)
            if stop or last or step % train.checkpoint_every == 0:
                self._save()
            if stop:
                raise _Stopped(stop)
            self._rows.clock.go()
        self._terminal.stop_bar()

    def _evaluation_row(self) -> Row:
        """Quick score, and every head's span; keeps the weights if they are the best so far."""
        valid = self._corpus.valid
        history = min(self._run.span.limit, self._trainer.model.history())
        pieces = sample(len(valid), self._run.train.eval_fraction, history)
        bpc = self._score(valid, pieces).bits_per_token
        if not math.isfinite(bpc):
            self._trainer.fail(f"valid bpc is {bpc}")
        if self._trainer.note_if_best(bpc) and self._tracker:
            self._checkpoints.save_best(self._trainer.best_state())
            self._tracker.summarize(best_row(self._trainer))
        return evaluation_row(self._trainer, bpc)

    def _score(
        self, tokens: Tokens, pieces: list[Piece], after_block: Callable[[], None] = lambda: None
    ) -> Score:
        """The cost of `pieces`, shared among the processes, which all call `after_block` equally
        often.
        """
        own = pieces[self._processes.rank :: self._processes.count]
        reading = {
            "batch_size": self._evaluation_batch,
            "block_size": self._run.train.block_size,
        }
        count = blocks(own, **reading)
        others_have_more = self._processes.largest(count) - count
        with autocast(self._device, self._trainer.precision):
            score = evaluate(
                self._trainer.model,
                tokens,
                own,
                device=self._device,
                after_block=after_block,
                **reading,
            )
        for _ in range(others_have_more):
            after_block()
        summed = torch.tensor([score.nats, score.tokens], dtype=torch.float64)
        nats, read = self._processes.sum(summed)
        return Score(nats.item(), int(read))

    def _leave_if_asked(self) -> None:
        if stop := self._processes.largest(self._stop.signal):
            raise _Stopped(stop)

    def _record(self, row: Row) -> None:
        if self._tracker:
            self._folder.append(row)
            self._tracker.log(row)
            self._folder.set_status("running", row["step"])

    def _save(self) -> None:
        self._rows.clock.pause()
        state = self._trainer.state()
        if state is not None:
            self._checkpoints.save(self._trainer.step, state)

    def _finish(self) -> None:
        """Score the best weights on the whole of valid and test, and close the run."""
        trainer, corpus = self._trainer, self._corpus
        self._load_best()
        self._terminal.line(
            f"scoring the weights of step {trainer.best_step}, the best, on all of valid and test"
        )
        history = trainer.model.history()
        scores = {}
        for split, tokens in (("valid", corpus.valid), ("test", corpus.test)):
            pieces = whole_text(len(tokens), history, self._evaluation_batch)
            score = self._score(tokens, pieces, self._leave_if_asked)
            scores[split] = score.bits_per_token
        if not self._tracker:
            return
        last = self._folder.rows()[-1]
        final = final_row(trainer, scores["valid"], scores["test"], last[figures.QUICK_BPC.key])
        self._folder.append(final)
        upload = self._run.tracking.upload_checkpoint
        self._tracker.finish(self._folder.rows(), self._checkpoints.best if upload else None)
        self._folder.set_status(
            "done", trainer.step, valid_bpc=scores["valid"], test_bpc=scores["test"]
        )
        for line in closing_lines(
            self._run, trainer.shape, final, trainer.spans_LH.tolist(), self._folder.path
        ):
            self._terminal.line(line)

    def _load_best(self) -> None:
        trainer = self._trainer
        try:
            trainer.load_best(self._checkpoints.load_best())
        except RunError as error:
            self._terminal.line(
                f"{error}; the weights of step {trainer.step} are taken for the best"
            )
            trainer.best_bpc, trainer.best_step = (
                self._folder.rows()[-1][figures.QUICK_BPC.key],
                trainer.step,
            )
            if self._processes.is_first:
                self._checkpoints.save_best(trainer.best_state())

    def _suspend(self) -> None:
        """Leave a run that can go on."""
        if self._processes.is_first:
            self._folder.set_status("resumable", self._trainer.step)
        if self._tracker:
            self._tracker.leave(resumable=True)

    def _fail(self, error: Exception) -> None:
        """Write down what failed: the process that knows it, not those that only lost that one."""
        failure = _failure(error)
        lost_another = failure["error"] == "node"
        with suppress(OSError):  # the disk may be what failed
            told = lost_another and self._folder.status().get("state") == "failed"
            if not told and (self._processes.is_first or not lost_another):
                self._folder.set_status("failed", self._trainer.step, **failure)
            if self._tracker:
                self._tracker.leave(resumable=False)


def _failure(error: Exception) -> dict[str, str]:
    """What the status says of a failure."""
    message = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return {"error": _class_of(error), "message": message}


def _class_of(error: Exception) -> str:
    """What kind of failure it is: what a person would look at first."""
    match error:
        case NonFiniteError():
            return "non-finite"
        case NoMemoryError():
            return "out of memory"
        case OSError() | DiskError():
            return "disk"
    return "node" if is_lost_peer(error) else "code"


@contextmanager
def _memory_errors_in_words(device: torch.device, way_out: str) -> Iterator[None]:
    """Raise `NoMemoryError` for the many ways in which memory is said to be full."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error)
        # As a CPU, CUDA, cuBLAS and torch, before it asks any of them, say it.
        words = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "size calculation over")
        if not isinstance(error, MemoryError) and not any(word in said for word in words):
            raise
        on_gpu = isinstance(error, torch.OutOfMemoryError) or "CUDA" in said or "CUBLAS" in said
        asked = re.search(r"ried to allocate ([\d.]+ \w+)", said)
        raise NoMemoryError(
            f"out of memory on {device if on_gpu else 'the CPU'}"
            f"{f' (tried to allocate {asked[1]})' if asked else ''}: {way_out}"
        ) from error


class _Stopped(Exception):
    """A signal asked to leave, and the last checkpoint holds all there is to save."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal
