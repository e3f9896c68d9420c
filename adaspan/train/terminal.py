"""What a run shows: a live bar and lines on a terminal, plain lines in a file, and the same lines
in the run folder's log. Only the main process prints.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from adaspan import stdout
from adaspan.console import Console
from adaspan.errors import DiskError


class Terminal(logging.Handler):
    """The one place that prints. As a log handler it also shows adaspan's warnings.

    Args:
        log: file that every line is added to; None for a process that stays silent.
        steps: updates of the whole run.
        leave: called once if nobody reads any more what is printed, as behind `| head`.
    """

    def __init__(self, log: Path | None, steps: int, leave: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._file = log.open("a") if log else None
        self._leave = leave
        self._console = Console(quiet=log is None, highlight=False, markup=False, soft_wrap=True)
        self._bar = self._progress(
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[progress]}"),
        )
        self._task = self._bar.add_task("", total=steps, progress="")

    def __enter__(self) -> Terminal:
        logging.getLogger("adaspan").addHandler(self)
        logging.getLogger("adaspan").propagate = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        logging.getLogger("adaspan").removeHandler(self)
        if self._file:
            with suppress(OSError):  # a full disk: what the run itself says of it matters more
                self._file.close()

    def emit(self, record: logging.LogRecord) -> None:
        self.line(f"warning: {record.getMessage()}")

    def line(self, text: str = "") -> None:
        """Print text, above the bar where there is one.

        Raises:
            DiskError: it cannot be printed.
        """
        try:
            self._console.print(text)
        except BrokenPipeError:
            self._console.quiet = True
            stdout.discard()
            self._leave()
        except OSError as error:
            stdout.discard()
            raise DiskError(
                f"stdout: {error.strerror}; what was saved is kept, fix this and type the same "
                "command again"
            ) from None
        if self._file:
            with suppress(OSError):
                self._file.write(f"{text}\n")
                self._file.flush()

    def start_bar(self, step: int) -> None:
        self._bar.update(self._task, completed=step)
        self._bar.start()

    def advance(self, step: int) -> None:
        self._bar.update(self._task, completed=step)

    def show_progress(self, progress: str) -> None:
        self._bar.update(self._task, progress=progress)

    def stop_bar(self) -> None:
        self._bar.stop()

    @contextmanager
    def bar(self, text: str) -> Iterator[Callable[[float], None]]:
        """A live bar for what is no step; what it gives is called with the share that is done."""
        with self._progress(TextColumn(text), BarColumn(bar_width=24)) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda share: bar.update(task, completed=share)

    def _progress(self, *columns: ProgressColumn) -> Progress:
        return Progress(
            *columns,
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=self._file is None or not self._console.is_terminal,
        )
