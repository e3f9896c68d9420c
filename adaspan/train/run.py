"""Train one run from its configuration to its final score, through any number of interruptions.

Here a run is opened: device, processes, data, folder, and whether anything is left to do.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from adaspan.config.schema import RunConfig
from adaspan.config.validate import validate_shares
from adaspan.data import Corpus, prepare
from adaspan.errors import RunError, UserError
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import run_name
from adaspan.signals import stop_request
from adaspan.train.device import choose_device
from adaspan.train.distributed import Processes, joined, local_rank
from adaspan.train.loop import Session


def train(run: RunConfig) -> None:
    """Train a run, or go on with it where it was stopped; say so if it is done already.

    Raises:
        UserError: a value that only this machine or the data can refuse.
        RunError: the run failed; its status says why.
        SystemExit: a signal stopped it after its state was saved; 128 + the signal's number.
    """
    try:
        _train(run)
    except OSError as error:
        raise RunError(
            f"{error.filename or run.output_dir}: {error.strerror or error}; what was saved is "
            "kept, mend this and type the same command again"
        ) from error


def _train(run: RunConfig) -> None:
    device = choose_device(run.train.device, local_rank())
    with joined(device) as processes, ExitStack() as held:
        validate_shares(run, processes.count)
        corpus = _load_corpus(run, processes)
        folder = RunFolder(Path(run.output_dir) / run_name(run))

        def begin() -> int:
            held.enter_context(folder.held())
            if run.train.restart:
                folder.clear()
            done = _is_done(folder, corpus)
            if not folder.vocabulary.exists():
                corpus.vocabulary.write(folder.vocabulary)
            return int(done)

        if not processes.first_decides(begin):
            with stop_request() as stop:
                Session(run, corpus, device, processes, stop, folder).train()


def _load_corpus(run: RunConfig, processes: Processes) -> Corpus:
    source = run.data.build(Path(run.data_dir))

    def load() -> Corpus:
        corpus = prepare(source, Path(run.data_dir))
        corpus.require_blocks(run.train.batch_size, run.train.block_size)
        return corpus

    processes.first_decides(lambda: len(load().train))
    return load()


def _is_done(folder: RunFolder, corpus: Corpus) -> bool:
    """Whether nothing is left to do, which is then said; refuses data that have changed since."""
    before = folder.data_fingerprint()
    if before not in (None, corpus.fingerprint):
        raise UserError(
            f"data: {folder.path} was begun on other data (sha256 {before}, now "
            f"{corpus.fingerprint}); train.restart=true starts over"
        )
    status = folder.status()
    if status.get("state") != "done":
        return False
    print(
        f"done already: {folder.path} · valid {status['valid_bpc']:.3f} bpc · "
        f"test {status['test_bpc']:.3f} bpc · train.restart=true starts over"
    )
    return True
