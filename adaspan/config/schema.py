"""Every key of a run: its name, its type and what it means.

The values live in `conf/`; what is allowed lives in `validate.py`. Each option of a group that
comes in kinds (span, data, optimizer) has a class of its own in `kinds/`, so that a key which the
kind lacks is refused: `span=fixed span.ramp=3` is a mistake, not a silent no-op.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from adaspan.config.keys import added_key
from adaspan.config.kinds.data import DataConfig
from adaspan.config.kinds.optimizer import OptimizerConfig
from adaspan.config.kinds.span import SpanConfig


@dataclass
class ModelConfig:
    """Shape of the transformer (paper, section 3)."""

    layers: int = MISSING
    dim: int = MISSING  # width of the hidden states
    heads: int = MISSING  # attention heads a layer; must divide dim
    ffn_dim: int = MISSING  # inner width of the feed-forward; 0: layers without one
    dropout: float = 0.0  # on attention weights and inside the feed-forward
    embedding_dropout: float = 0.0  # on the embeddings and before the output layer
    persistent: int = added_key(0)  # learned keys and values per head that every token sees
    cutoffs: list[int] = added_key([])  # of words: ids where clusters of narrower vectors begin
    divisor: int = added_key(4)  # by which each cluster is narrower than the one before
    tied: bool = added_key(False)  # with cutoffs: the output layer shares the embedding's vectors


@dataclass
class TrainConfig:
    """The training loop."""

    steps: int = MISSING
    batch_size: int = MISSING  # B: streams read side by side, over all processes
    block_size: int = MISSING  # M: tokens a stream and step
    micro_batches: int = 1  # gradient accumulation: parts of a batch, one after the other
    eval_every: int = MISSING  # steps between quick evaluations
    eval_fraction: float = 0.1  # part of the valid split that a quick evaluation reads
    checkpoint_every: int = MISSING
    log_every: int = MISSING
    seed: int = 1
    device: str = "auto"  # auto, cpu, cuda, cuda:1, ...
    precision: str = "auto"  # auto (bfloat16 where the GPU has it), float32, bfloat16
    attention: str = "auto"  # auto, banded, triton (a GPU's kernels), reference
    compile: bool = False  # torch.compile: starts minutes later, runs faster, resumes inexactly
    graph: bool = added_key(True)  # on a GPU, start a step as a whole: the same results, sooner
    profile: bool = False  # show where the time of a few updates goes, and write a trace of them
    restart: bool = False  # throw away what this run has so far and start over, as a new run would
    extend: bool = added_key(True)  # begin with what a run of another length has trained already
    accept_other_code: bool = added_key(False)  # go on with, or take, what other code has trained


@dataclass
class TrackingConfig:
    """Weights & Biases. The run folder holds everything in any case."""

    mode: str = MISSING  # offline, online, disabled
    project: str = "adaspan"
    entity: str | None = None
    group: str | None = None  # null: in a sweep, the sweep's name
    name: str | None = None  # null: in a sweep, what varies; else that of the run folder
    tags: list[str] = field(default_factory=list)  # besides the data's name and the kind of span
    upload_checkpoint: bool = False  # the best weights, as an artifact, when the run is done


@dataclass
class RunConfig:
    """One training run, complete. Every other module takes its values from here."""

    model: ModelConfig = field(default_factory=ModelConfig)
    span: SpanConfig = field(default_factory=SpanConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    output_dir: str = MISSING  # where run folders go
    data_dir: str = MISSING  # where downloads and prepared token files go
    extensions: list[str] = field(default_factory=list)  # modules that register kinds of one's own


@dataclass
class GridSweeperConfig:
    """Which runs a sweep has."""

    _target_: str = "hydra_plugins.adaspan_sweeps.GridSweeper"
    params: dict[str, str] | None = None
    paired: list[dict[str, Any]] | None = None


@dataclass
class LocalLauncherConfig:
    """How a sweep runs on this machine."""

    _target_: str = "hydra_plugins.adaspan_sweeps.LocalLauncher"
    processes: int | None = None  # runs at once
    fail_fast: bool = False  # start no more after the first failure
    wait: bool = True  # always true: a search file with wait=true fits both launchers
    dry_run: bool = False  # only show the runs
    objectives: list[str] | None = None  # figures that a search gets; null: final/valid


@dataclass
class SlurmSettings:
    """What a run's job asks of SLURM."""

    partition: str | None = None
    timeout_min: int = MISSING
    nodes: int = MISSING
    tasks_per_node: int = MISSING  # processes a node; all of a run train it together
    gpus_per_node: int | None = None  # null: one per task, where the partition has them
    cpus_per_task: int = MISSING
    mem: str | None = None  # as sbatch takes it
    signal_delay_s: int = MISSING  # before the time limit, when a run is asked to save
    array_parallelism: int = MISSING  # jobs of one submission that run at once
    setup: list[str] = field(default_factory=list)  # lines of shell before the run
    srun_args: list[str] = field(default_factory=list)
    sbatch: dict[str, Any] = field(default_factory=dict)  # any other field of sbatch
    fail_fast: bool = False  # take what waits out of the queue after the first failure


@dataclass
class SlurmLauncherConfig(SlurmSettings):
    """How a sweep runs on a cluster."""

    _target_: str = "hydra_plugins.adaspan_sweeps.SlurmLauncher"
    canary: bool = False  # one short job first; the others start when it has succeeded
    wait: bool = False  # until all runs have ended
    dry_run: bool = False  # only show the runs and the batch script
    max_gpu_hours: float | None = None  # upper limit on GPU-hours, estimated at gpu_tflops
    gpu_tflops: float = MISSING  # what one GPU sustains, in TFLOP/s
    objectives: list[str] | None = None  # figures that a search gets; null: final/valid
