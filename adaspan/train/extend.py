"""A run that is a longer form of another one begins with what that one has trained.

It is given all that it would have itself after so many updates (`beginning.py`), and from there on
is a run like any that was stopped once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from adaspan.config.schema import RunConfig
from adaspan.data import Corpus
from adaspan.errors import RunError
from adaspan.runs.folder import RunFolder
from adaspan.runs.length import Relative, end_of_updates_in_common, in_words, relatives
from adaspan.train.beginning import beginning_after
from adaspan.train.checkpoint import Checkpoints
from adaspan.train.trainer import Trainer


def begin_with_another_run(
    config: RunConfig, folder: RunFolder, corpus: Corpus, trainer: Trainer
) -> str | None:
    """Give a run without a checkpoint the farthest one that another run has of it.

    Args:
        config: of the run.
        folder: of the run, locked.
        corpus: what it reads.
        trainer: which has made no update.

    Returns:
        Where it begins, or why at step 0 although there is such a run; None if there is none.

    Raises:
        DiskError: a file cannot be written. The next start tries again.
    """
    candidates = [_Candidate(config, relative) for relative in relatives(config)]
    in_reach = [(step, other) for other in candidates for step in other.steps]
    for step, other in sorted(in_reach, key=lambda found: found[0], reverse=True):
        try:
            beginning = beginning_after(step, other.relative, config, corpus, trainer)
        except (RunError, OSError) as error:
            other.refuse(step, error)
            continue
        beginning.write_to(folder, config)
        return f"continues {other} from step {step}{other.other_cadence()}"
    refused = [other for other in candidates if other.refusals]
    if not refused:
        return None
    farthest = max(refused, key=lambda other: max(other.saved, default=0))
    return f"begins at step 0, not with {farthest}: {farthest.why_refused()}"


@dataclass
class _Candidate:
    """A run that may be continued."""

    config: RunConfig  # of the run that would continue it
    relative: Relative
    saved: list[int] = field(init=False)  # after which updates its checkpoints are, newest first
    steps: list[int] = field(init=False)  # those from which both go on alike
    # Why it cannot be continued, and after which steps.
    refusals: dict[str, list[int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        folder = self.relative.folder
        self.saved = Checkpoints(folder.checkpoints).steps()
        last, why = end_of_updates_in_common(self.config, self.relative.config)
        self.steps = [step for step in self.saved if step <= last]
        if self.saved and not self.steps:
            self.refusals[f"its first checkpoint is of step {self.saved[-1]}, but {why}"] = []
        elif not self.saved and folder.log.exists():
            self.refusals["it has no checkpoint"] = []

    def __str__(self) -> str:
        return f"{self.relative.folder.path.name} ({in_words(self.relative.config)})"

    def refuse(self, step: int, error: RunError | OSError) -> None:
        """Note why it cannot be continued after a step."""
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        self.refusals.setdefault(reason, []).append(step)

    def why_refused(self) -> str:
        """In one line."""
        return "; ".join(
            f"at step {' and '.join(map(str, steps))} {reason}" if steps else reason
            for reason, steps in self.refusals.items()
        )

    def other_cadence(self) -> str:
        """How often it has a row, unless that is as often as the run that continues it."""
        steps = self.relative.log_every
        if steps == self.config.train.log_every:
            return ""
        return f", until then a row every {steps} steps"
