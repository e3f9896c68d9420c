"""What a run has after its first updates, taken from another one that has made the very same.

Checkpoint, best weights and rows are those that the run would have itself. The other one is only
read, even while it is trained.

The last step of a run is special: it is evaluated there, whatever its number. A longer run is not.
The figures of that evaluation are taken out of the row, and the best weights are those of before,
if there is still a checkpoint of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from adaspan.config.resolved import to_yaml
from adaspan.config.schema import RunConfig
from adaspan.data import Corpus
from adaspan.errors import RunError
from adaspan.runs import figures
from adaspan.runs.code.fingerprint import code_of_run, in_words
from adaspan.runs.figures import Row
from adaspan.runs.figures.rows import head_spans, is_final, without_evaluation
from adaspan.runs.folder import RunFolder
from adaspan.runs.length import Relative, end_of_updates_in_common, evaluates
from adaspan.runs.other_code import changed_since
from adaspan.runs.start import Start
from adaspan.train.checkpoint import Checkpoints, State
from adaspan.train.device import precision_name
from adaspan.train.trainer import Trainer


@dataclass(frozen=True)
class Beginning:
    """What a run has after its first updates."""

    run: str  # whose they are
    starts: list[Start]  # of that one
    state: State
    best: State | None  # None: nothing was evaluated so far
    rows: list[Row]

    def write_to(self, folder: RunFolder, config: RunConfig) -> None:
        """Make it a run's own. The checkpoint comes last: without it the run has not begun.

        Raises:
            DiskError: a file cannot be written.
        """
        checkpoints, step = Checkpoints(folder.checkpoints), self.state["step"]
        folder.write_config(to_yaml(config))
        folder.replace_rows(self.rows)
        folder.source.take_over(self.run, self.starts, step)
        if self.best:
            checkpoints.save_best(self.best)
        checkpoints.save(step, self.state)


def beginning_after(
    step: int, other: Relative, config: RunConfig, corpus: Corpus, trainer: Trainer
) -> Beginning:
    """What a run would have after a step that another one has saved.

    Args:
        step: from which both go on alike.
        other: which has saved it.
        config: of the run.
        corpus: what it reads.
        trainer: of the run.

    Raises:
        RunError: that cannot be had; says what the other run is or lacks.
    """
    checkpoints = Checkpoints(other.folder.checkpoints)
    name, starts = other.folder.path.name, other.folder.source.starts()
    if not starts:
        raise RunError("it is no longer there")
    _check_source(step, other, config, corpus)
    out_of_turn = _is_evaluated_out_of_turn(step, other, config)
    # Before the rows: a run that is trained at this moment adds to them, and saves after that.
    state = checkpoints.look_at(step)
    _check_state(state, trainer)
    rows = _rows(step, other)
    if out_of_turn:
        rows[-1] = without_evaluation(rows[-1])
    best_row = _best_row(rows)
    if best_row is None:
        state |= {"best_score": math.inf, "best_step": 0}
        return Beginning(name, starts, state, None, rows)
    state["best_score"] = figures.QUICK.value(best_row)
    state["best_step"] = best_row[figures.STEP.key]
    best = _best_weights(checkpoints, state, other, config)
    if best is None:
        best = _weights_of(best_row, checkpoints, trainer)
    return Beginning(name, starts, state, best, rows)


def _check_source(step: int, other: Relative, config: RunConfig, corpus: Corpus) -> None:
    source = other.folder.source
    if source.data_fingerprint() != corpus.fingerprint:
        raise RunError("it has learned from other data")
    if config.train.accept_other_code:
        return
    if changed := changed_since(source.made_by(step), code_of_run(config.extensions)):
        raise RunError(
            f"it was trained by other code ({in_words(changed)}); train.accept_other_code=true "
            "takes it"
        )


def _check_state(state: State, trainer: Trainer) -> None:
    if state["precision"] != str(trainer.precision):
        then, now = precision_name(state["precision"]), precision_name(trainer.precision)
        raise RunError(f"it was trained in {then}, not in {now}")
    shapes, own = (
        {name: tensor.shape for name, tensor in model.items()}
        for model in (state["model"], trainer.model.state_dict())
    )
    if "best_score" not in state:
        raise RunError("it was saved by an older version")
    if shapes != own:
        raise RunError("it has other parameters")


def _is_evaluated_out_of_turn(step: int, other: Relative, config: RunConfig) -> bool:
    """Whether the other run was evaluated after a step only because it was its last one."""
    was_evaluated, is_evaluated = evaluates(other.config, step), evaluates(config, step)
    if is_evaluated and not was_evaluated:
        raise RunError("it was not evaluated; this run, which ends there, is")
    out_of_turn = was_evaluated and not is_evaluated
    if out_of_turn and step % other.log_every:  # losses since the row before are lost
        raise RunError(
            f"it ended between two rows of a longer run (train.log_every={other.log_every})"
        )
    return out_of_turn


def _rows(step: int, other: Relative) -> list[Row]:
    """All up to a step."""
    rows = [row for row in other.folder.rows() if row[figures.STEP.key] <= step]
    rows = [row for row in rows if not is_final(row)]
    evaluated = [row[figures.STEP.key] for row in rows if figures.QUICK.value(row) is not None]
    due = [n for n in range(1, step + 1) if evaluates(other.config, n)]
    has_row = step % other.log_every == 0 or step in due
    if evaluated != due or (has_row and [row[figures.STEP.key] for row in rows[-1:]] != [step]):
        raise RunError("it lacks rows of before")
    return rows


def _best_row(rows: list[Row]) -> Row | None:
    """That of the best evaluation: of equal ones the first."""
    scored = [(score, row) for row in rows if (score := figures.QUICK.value(row)) is not None]
    return min(scored, key=lambda one: one[0])[1] if scored else None


def _best_weights(
    checkpoints: Checkpoints, state: State, other: Relative, config: RunConfig
) -> State | None:
    """The other run's, if they are this run's, too, or will be when it has come as far."""
    best = checkpoints.load_best()
    last, _ = end_of_updates_in_common(config, other.config)
    step = best["step"]
    comes_again = state["step"] < step <= last and evaluates(config, step)
    return best if step == state["best_step"] or comes_again else None


def _weights_of(row: Row, checkpoints: Checkpoints, trainer: Trainer) -> State:
    """The weights of an evaluation, from a checkpoint of its step."""
    step = row[figures.STEP.key]
    if step not in checkpoints.steps():
        raise RunError(f"it no longer has the weights of step {step}, the best until then")
    spans_LH = torch.zeros_like(trainer.mean_spans_LH)
    for layer, head, span in head_spans(row):  # to the bit where spans are dynamic; else unused
        spans_LH[layer, head] = span
    return {
        "step": step,
        "score": figures.QUICK.value(row),
        "model": checkpoints.look_at(step)["model"],
        "spans": spans_LH,
    }
