"""How long `adaspan report` takes for many runs: to read them, and to write the page.

    python benchmarks/report.py [--runs 100] [--rows 1000]

The runs are of the paper's 12-layer model, fixed and adaptive, two seeds a limit, an evaluation in
every tenth row; the figures in them are made up. They lie in memory where the system has a
/dev/shm: what counts is not the disk.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from adaspan.config.hydra import register, to_run_config
from adaspan.config.resolved import to_yaml
from adaspan.config.schema import RunConfig
from adaspan.nn.flops import Shape, paper_macs_per_token
from adaspan.places import CONF
from adaspan.report.comparison import compare
from adaspan.report.page import write_page
from adaspan.runs.failures import State
from adaspan.runs.figures import Row
from adaspan.runs.folder import RunFolder

SHARED_MEMORY = Path("/dev/shm")
KINDS, SEEDS = ("fixed", "adaptive"), (1, 2)
TOKENS_A_STEP, ROWS_AN_EVALUATION = 64 * 512, 10
EVALUATED = ("valid/", "span/layer_")  # what only an evaluation's row has


def configurations(count: int) -> Iterator[RunConfig]:
    """`count` runs; limits as many as that takes."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for index in range(count):
            limit, rest = divmod(index, len(KINDS) * len(SEEDS))
            kind, seed = divmod(rest, len(SEEDS))
            run = to_run_config(compose("config", [f"span={KINDS[kind]}", "model=base"]))
            run.span.limit, run.train.seed = 64 * (limit + 1), SEEDS[seed]
            yield run


def rows(config: RunConfig, count: int) -> Iterator[Row]:
    """A training that gets slowly better; at its end the final evaluation."""
    chance = random.Random(f"{config.span}{config.train.seed}")
    model = config.model
    heads = [
        (
            layer,
            head,
            config.span.limit * (1.0 if config.span.kind == "fixed" else chance.random() ** 4),
        )
        for layer in range(model.layers)
        for head in range(model.heads)
    ]
    mean = statistics.fmean(span for _, _, span in heads)
    macs = paper_macs_per_token(
        Shape(model.layers, model.dim, model.heads, model.ffn_dim, 205), mean
    )
    for step in range(1, count):
        row: Row = {
            "step": step,
            "tokens": step * TOKENS_A_STEP,
            "train/bpb": 1 + 5 / math.sqrt(step) + chance.gauss(0, 0.02),
            "train/learning_rate": 0.07,
            "perf/tokens_per_second": chance.uniform(20_000, 22_000),
            "perf/memory_gb": 10.0,
            "span/mean": mean,
            "span/max": max(span for _, _, span in heads),
            "flops/paper_macs_per_token": macs,
            "flops/paper_with_position_macs_per_token": 1.1 * macs,
            "flops/executed_per_token": 2.3 * macs,
            "flops/executed_training": 7 * macs * step * TOKENS_A_STEP,
        }
        if step % ROWS_AN_EVALUATION == 0 or step == count - 1:
            row["valid/bpb"] = row["train/bpb"] + chance.gauss(0.05, 0.01)
            for layer, head, span in heads:
                row[f"span/layer_{layer:02d}/head_{head}"] = span * step / count
        yield row
    bpb = 1.1 + chance.gauss(0, 0.02)
    last = {key: value for key, value in row.items() if not key.startswith(EVALUATED)}
    yield {**last, "final/valid_bpb": bpb, "final/test_bpb": bpb + 0.05, "best/valid_bpb": bpb}


def make(path: Path, runs: int, rows_a_run: int) -> list[Path]:
    """The run folders."""
    made = []
    for index, run in enumerate(configurations(runs)):
        one = RunFolder(path / f"run-{index:03d}")
        one.freeze(to_yaml(run), "0123")
        for row in rows(run, rows_a_run):
            one.append(row)
        one.set_status(State.DONE, rows_a_run - 1)
        made.append(one.path)
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rows", type=int, default=1000, help="rows of metrics a run")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {"read": [], "page": []}
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as made:
        folders = make(Path(made), arguments.runs, arguments.rows)
        page = Path(made) / "report.html"
        for _ in range(arguments.repeats):
            start = time.perf_counter()
            comparison = compare("benchmark", {folder: {} for folder in folders})
            times["read"].append(time.perf_counter() - start)
            start = time.perf_counter()
            write_page(comparison, page, margin=0.02)
            times["page"].append(time.perf_counter() - start)
        size = page.stat().st_size
    table = Table(title=f"A report of {arguments.runs} runs with {arguments.rows} rows each")
    table.add_column("step")
    table.add_column("min s", justify="right")
    table.add_column("median s", justify="right")
    for step, seconds in times.items():
        table.add_row(step, f"{min(seconds):.2f}", f"{statistics.median(seconds):.2f}")
    table.caption = f"the page has {size / 2**20:.1f} MiB"
    Console(width=120).print(table)
    print(
        json.dumps(
            {
                "benchmark": "report",
                "runs": arguments.runs,
                "rows": arguments.rows,
                "page_bytes": size,
                "results": [
                    {
                        "step": step,
                        "seconds_min": min(seconds),
                        "seconds_median": statistics.median(seconds),
                    }
                    for step, seconds in times.items()
                ],
            }
        )
    )


if __name__ == "__main__":
    main()
