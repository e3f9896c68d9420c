"""A checkpoint of github.com/facebookresearch/adaptive-span, the papers' code, becomes a run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from adaspan.config.checks import require_writable
from adaspan.config.hydra import composed_run
from adaspan.config.kinds.data import corpus_of
from adaspan.config.resolved import to_yaml
from adaspan.config.schema import RunConfig
from adaspan.errors import UserError
from adaspan.runs.failures import State
from adaspan.runs.folder import RunFolder
from adaspan.runs.identity import run_name
from adaspan.train.build import make_model
from adaspan.train.checkpoint import Checkpoints
from adaspan.trained.public_checkpoint import no_checkpoint, read_public
from adaspan.trained.public_data import PublicData


def import_checkpoint(file: Path, data: Path, output_dir: Path, ramp: int) -> Path:
    """Make a run folder of a checkpoint of the public code.

    Args:
        file: the checkpoint. Nothing in it is run.
        data: the folder that it was trained on; the text that its numbers stand for is written into
            the folder for data.
        output_dir: where the run folder comes.
        ramp: R, which the checkpoint does not tell.

    Returns:
        The run folder.

    Raises:
        UserError: the file is no such checkpoint, does not fit the data, or is imported already.
    """
    require_writable("--runs", output_dir)
    checkpoint = read_public(file)
    text = PublicData(data, by_count=checkpoint.has_clusters)
    symbols, known = sum(map(len, checkpoint.words)), len(text.vocabulary)
    if symbols != known:
        raise UserError(
            f"--data {data}: has {known} symbols in train.txt, but the checkpoint has {symbols}; "
            "name the folder that it was trained on"
        )
    digest = _sha256(file)
    config = _composed(file, checkpoint.overrides(ramp))
    decoded = Path(config.data_dir) / "imported" / digest[:12] / data.resolve().name
    config.data = text.as_data(decoded)
    config.output_dir = str(output_dir)
    # As of any run, but with a hash of the checkpoint: nobody can train it from the start.
    name = f"{run_name(config).rpartition('-')[0]}-{digest[:10]}"
    folder = RunFolder(output_dir / name)
    if folder.path.exists():
        raise UserError(f"{folder.path}: is there already; delete it to import {file} again")
    model = make_model(config.model, config.span, symbols)
    try:
        model.load_state_dict(checkpoint.tensors)
    except RuntimeError as error:
        raise no_checkpoint(file, str(error).splitlines()[-1].strip()) from None
    fingerprint = corpus_of(config.data, Path(config.data_dir)).fingerprint
    folder.write_config(to_yaml(config))
    text.vocabulary.write(folder.vocabulary)
    folder.source.note_import(str(file), digest, fingerprint)
    Checkpoints(folder.checkpoints).save_best(
        {"step": checkpoint.step, "model": model.state_dict()}
    )
    folder.set_status(State.DONE, checkpoint.step)
    return folder.path


def _composed(file: Path, overrides: list[str]) -> RunConfig:
    try:
        return composed_run(overrides)
    except UserError as error:
        if str(error).startswith(("model.", "span.")):  # which the shapes tell
            raise no_checkpoint(file, str(error).splitlines()[0]) from None
        raise


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
