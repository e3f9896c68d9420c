"""Train one run from its configuration to its final score, through any number of interruptions.

Here a run is opened: device, processes, data, folder, and whether anything is left to do.
"""

from __future__ import annotations

import traceback
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch

from adaspan import ranks
from adaspan.config.extensions import extension_errors_as_one_line
from adaspan.config.kinds.data import corpus_of
from adaspan.config.schema import RunConfig, TrainConfig
from adaspan.config.validate import validate_shares
from adaspan.data import Corpus
from adaspan.errors import ExtensionError, KindError, RunError, UserError
from adaspan.nn.checks import ContractError
from adaspan.places import shown
from adaspan.runs import figures
from adaspan.runs.code.fingerprint import code_of_run, in_words
from adaspan.runs.failures import State
from adaspan.runs.figures.own import check_own_keys, own_keys
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import run_name
from adaspan.runs.other_code import files_changed_since
from adaspan.signals import stop_request
from adaspan.tracking.files import clear
from adaspan.train.agree import facts_of
from adaspan.train.build import check_attention, check_clusters
from adaspan.train.device import choose_device, choose_precision, precision_name
from adaspan.train.distributed import Processes, joined
from adaspan.train.loop import train_in_session


def train(config: RunConfig, path: Path | None = None, begun_on: str | None = None) -> None:
    """Train a run, or go on with it where it was stopped; say so if it is done already.

    Args:
        config: of the run.
        path: of its folder; None: `run_name` in `output_dir`.
        begun_on: SHA-256 of the data that it must be trained on; None: of those that are there.

    Raises:
        UserError: a value that only this machine or the data can refuse.
        RunError: the run failed; its status says why.
        SystemExit: a signal stopped it after its state was saved; 128 + the signal's number.
    """
    with extension_errors_as_one_line():
        folder = RunFolder(path or Path(config.output_dir) / run_name(config))
    try:
        with extension_errors_as_one_line():
            _train(config, folder, begun_on)
    except (ExtensionError, KindError) as error:
        raise _with_trace(error, folder.log) from error
    except OSError as error:
        begun = folder.path.exists()
        raise RunError(
            f"{error.filename or config.output_dir}: {error.strerror or error}; "
            f"{'what was saved is kept, ' * begun}fix this and type the same command again"
        ) from error


def _with_trace(error: ExtensionError | KindError, log: Path) -> ExtensionError | KindError:
    """The error; where a user's code raised it, with the trace in the run's log, which it names."""
    raised = error.__cause__
    if raised is None or isinstance(raised, ContractError):
        return error
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.writelines(traceback.format_exception(raised))
    except OSError:  # the user's code is what must be mended first
        return error
    return type(error)(f"{error}; the trace is in {shown(log)}")


def _train(config: RunConfig, folder: RunFolder, begun_on: str | None) -> None:
    device = choose_device(config.train.device, ranks.local_rank())
    check_attention(config.train.attention, config.model, device)
    facts = partial(facts_of, config, device)
    with joined(device, facts) as processes, ExitStack() as locks:
        validate_shares(config, processes.world_size)
        check_own_keys()  # refused now, not at the first evaluation
        corpus = _load_corpus(config, processes, begun_on)

        def begin() -> int:
            locks.enter_context(folder.lock())
            if config.train.restart:
                clear(folder)
            _require_same_code(config, folder)
            done = _is_done(config, folder, corpus, device)
            corpus.vocabulary.write(folder.vocabulary)
            return int(done)

        if not processes.main_process_first(begin):
            with stop_request() as stop:
                train_in_session(
                    config=config,
                    corpus=corpus,
                    device=device,
                    processes=processes,
                    stop=stop,
                    folder=folder,
                )


def _load_corpus(config: RunConfig, processes: Processes, begun_on: str | None) -> Corpus:
    loaded: list[Corpus] = []  # once, for its digests are checked each time

    def load() -> int:
        corpus = corpus_of(config.data, Path(config.data_dir))
        typed = config.data.typed
        if begun_on not in (None, corpus.fingerprint):
            raise UserError(
                f"{typed}: has changed since the run was begun (sha256 {begun_on}, now "
                f"{corpus.fingerprint}); say {typed} once more to train on what it is now"
            )
        corpus.require_blocks(typed, config.train.batch_size, config.train.block_size)
        check_clusters(config.model, corpus.vocabulary)
        loaded.append(corpus)
        return len(corpus.train)

    processes.main_process_first(load)
    data = ""
    try:
        if not loaded:
            load()
    except UserError as error:
        data = f"cannot be read ({error})"
    processes.require_alike("data", data or f"sha256 {loaded[0].fingerprint}")
    return loaded[0]


def _require_same_code(config: RunConfig, folder: RunFolder) -> None:
    """Refuse a run that other code has trained, unless that is accepted."""
    changed = files_changed_since(folder, code_of_run(config.extensions))
    if not changed or config.train.accept_other_code:
        return
    if folder.state == State.DONE:
        done, accepted, anew = "was trained", "takes it as it is", "trains it anew"
    else:
        done, accepted, anew = "was begun", "goes on with this code", "starts over"
    raise UserError(
        f"{folder.path}: {done} by other code ({in_words(changed)}); "
        f"train.accept_other_code=true {accepted}, train.restart=true {anew}, another output_dir "
        "keeps both"
    )


def _is_done(config: RunConfig, folder: RunFolder, corpus: Corpus, device: torch.device) -> bool:
    """Whether the run is done, and say so; refuse data that have changed since it began."""
    before = folder.source.data_fingerprint()
    if before not in (None, corpus.fingerprint):
        raise UserError(
            f"data: {folder.path} was begun on other data (sha256 {before}, now "
            f"{corpus.fingerprint}); train.restart=true starts over"
        )
    if folder.state != State.DONE:
        return False
    final = folder.rows()[-1]
    lacks = [f"no {key} · " for key in own_keys() if key not in final]
    print(
        f"done already: {folder.path} · valid {figures.VALID.told(final)} · "
        f"test {figures.TEST.told(final)} · {''.join(lacks)}"
        f"{_other_precision(config.train, folder, device)}{_other_code(config, folder)}"
        "train.restart=true starts over"
    )
    return True


def _other_code(config: RunConfig, folder: RunFolder) -> str:
    """That a run was trained by other code, which the user accepts."""
    changed = files_changed_since(folder, code_of_run(config.extensions))
    return f"trained by other code ({in_words(changed)}) · " if changed else ""


def _other_precision(settings: TrainConfig, folder: RunFolder, device: torch.device) -> str:
    """In which precision a run was trained, where this device would choose another one."""
    here = precision_name(choose_precision(settings.precision, device))
    trained_in = folder.source.begun_with().get("precision", here)
    asked = f"train.precision={settings.precision}"
    return f"trained in {trained_in}, here {asked} is {here} · " if trained_in != here else ""
