"""Sweeps on a real SLURM: submitted once, and each run ends once, whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adaspan.sweep.cost import training_flops
from tests.cluster.conftest import Cluster
from tests.conftest import ROOT, command, compose_run
from tests.processes import assert_same, final_state, rows, status, train_here
from tests.train.test_distributed import run_ranks

OPTUNAS_WARNINGS = pytest.mark.filterwarnings("ignore")  # of the libraries that it imports


def folders(sweeps: Cluster) -> list[Path]:
    return sorted(path.parent for path in sweeps.runs.glob("*/config.yaml"))


def all_done(sweeps: Cluster) -> bool:
    return all(status_or_none(folder) == "done" for folder in folders(sweeps))


def status_or_none(folder: Path) -> str | None:
    return status(folder)["state"] if (folder / "status.json").exists() else None


def assert_undisturbed(sweeps: Cluster, *varying: str) -> None:
    """Runs end as the same runs alone on this machine, to the bit."""
    common = [o for o in sweeps.tiny if o != "-m" and not o.startswith(("hydra", "output_dir"))]
    for number, values in enumerate(varying):
        alone = sweeps.runs.parent / "undisturbed" / str(number)
        train_here(*common, *values.split(), f"output_dir={alone}")
        (expected,) = (path for path in alone.iterdir() if path.name != "sweeps")
        found = sweeps.runs / expected.name
        assert rows(found) == rows(expected)
        assert_same(final_state(found), final_state(expected))


def test_a_sweep_is_submitted_once_and_only_what_is_missing_later(sweeps: Cluster) -> None:
    end = sweeps.launch("train.seed=1,2", "hydra.launcher.sbatch.hold=true")
    assert end.returncode == 0, end.stderr
    assert "2 runs: 0 done, 0 under way, 2 to submit" in end.stdout
    assert "next    adaspan status" in end.stdout
    again = sweeps.launch("train.seed=1,2")
    assert "2 runs: 0 done, 2 under way, 0 to submit" in again.stdout
    assert len(sweeps.jobs()) == 2
    dry = sweeps.launch("train.seed=1,2,3", "hydra.launcher.dry_run=true")
    assert "#SBATCH" in dry.stdout
    assert "--array" not in dry.stdout, "one is missing"
    sweeps.ask("scontrol", "release", *sweeps.jobs())
    more = sweeps.launch("train.seed=1,2,3")
    assert "1 to submit" in more.stdout
    sweeps.wait_until_empty()
    assert all_done(sweeps)
    last = sweeps.launch("train.seed=1,2,3")
    assert "3 runs: 3 done, 0 under way, 0 to submit" in last.stdout
    assert "nothing to submit" in last.stdout
    assert_undisturbed(sweeps, "train.seed=1", "train.seed=3")

    table = sweeps.adaspan("status")
    assert table.returncode == 0
    assert table.stdout.count("done") == 4  # three lines and the count below


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("hydra.launcher.cpus_per_task=64", "no nodes of this cluster can run such a job"),
        ("hydra.launcher.timeout_min=9000", "the partition's limit is 1440 minutes"),
        ("hydra.launcher.sbatch.acount=me", "unrecognized option '--acount=me'"),
        ("hydra.launcher.partition=none", "invalid partition specified: none"),
    ],
)
def test_what_the_cluster_refuses_is_one_line_and_leaves_nothing(
    sweeps: Cluster, setting: str, message: str
) -> None:
    end = sweeps.launch("train.seed=1,2", setting)
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert message in line
    assert sweeps.launch("train.seed=1,2", setting, "hydra.launcher.dry_run=true").returncode == 2
    assert not sweeps.ask("squeue", "-ho", "%i")
    assert not sweeps.runs.exists()


def test_a_restart_that_slurm_refuses_leaves_what_there_was(
    sweeps: Cluster, tmp_path: Path
) -> None:
    waited_for = sweeps.launch("train.seed=1", "hydra.launcher.wait=true")
    assert waited_for.returncode == 0, waited_for.stderr
    (folder,) = folders(sweeps)
    assert f"{folder.name} done" in waited_for.stdout
    before = rows(folder)
    full = tmp_path / "bin" / "sbatch"
    full.parent.mkdir()
    real = shutil.which("sbatch")
    full.write_text(
        f'#!/bin/bash\n[ "$1" = --test-only ] || {{ echo full >&2; exit 1; }}\nexec {real} "$@"\n'
    )
    full.chmod(0o755)
    path = f"{full.parent}:{sweeps.environment()['PATH']}"
    refused = sweeps.launch("train.seed=1", "train.restart=true", PATH=path)
    assert refused.returncode == 2
    assert "sbatch refuses the jobs: full" in refused.stderr
    assert all_done(sweeps)
    assert rows(folder) == before
    anew = sweeps.launch("train.seed=1", "train.restart=true", "hydra.launcher.sbatch.hold=true")
    assert "1 to submit" in anew.stdout, anew.stderr
    assert status_or_none(folder) is None
    assert not (folder / ".aside").exists()


def test_the_same_command_typed_twice_at_once_submits_each_run_once(sweeps: Cluster) -> None:
    typed = command(*sweeps.tiny, "train.seed=1,2,3", "hydra.launcher.sbatch.hold=true")
    both = [
        subprocess.Popen(
            typed,
            cwd=sweeps.runs.parent,
            env=sweeps.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = sorted(process.communicate(timeout=120)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("3 to submit" in text for text in outputs) == [False, True]
    assert len(sweeps.ask("squeue", "-rho", "%i").split()) == 3


def test_what_slurm_took_before_it_refused_is_told(sweeps: Cluster, tmp_path: Path) -> None:
    once = tmp_path / "once"
    full = tmp_path / "bin" / "sbatch"  # as for a user who may have one array in the queue
    full.parent.mkdir()
    full.write_text(
        f"""#!/bin/bash
if [ "$1" != --test-only ]; then
  [ ! -e {once} ] || {{ echo full >&2; exit 1; }}
  touch {once}
fi
exec {shutil.which("sbatch")} "$@"
"""
    )
    full.chmod(0o755)
    seeds = "train.seed=" + ",".join(str(seed) for seed in range(1, 11))
    path = f"{full.parent}:{sweeps.environment()['PATH']}"
    end = sweeps.launch(seeds, "hydra.launcher.sbatch.hold=true", PATH=path)
    assert end.returncode == 2
    assert "sbatch refuses the jobs: full" in end.stderr
    assert end.stdout.count("submit ") == len(sweeps.jobs()) == 8


def test_a_launcher_killed_while_it_submits_leaves_no_orphan(
    sweeps: Cluster, tmp_path: Path
) -> None:
    real = shutil.which("sbatch")
    killing = tmp_path / "bin" / "sbatch"
    killing.parent.mkdir()
    killing.write_text(f'#!/bin/bash\n{real} "$@"\n[ "$1" = --test-only ] || kill -9 $PPID\n')
    killing.chmod(0o755)
    path = f"{killing.parent}:{sweeps.environment()['PATH']}"
    killed = sweeps.run(*command(*sweeps.tiny, "train.seed=1,2"), PATH=path)
    assert killed.returncode < 0
    orphans = set(sweeps.ask("squeue", "-rho", "%F").split())
    assert len(orphans) == 1
    end = sweeps.launch("train.seed=1,2")
    assert "2 to submit" in end.stdout, end.stderr
    sweeps.wait_until(lambda: orphans.isdisjoint(sweeps.ask("squeue", "-rho", "%F").split()))
    sweeps.wait_until_empty()
    assert all_done(sweeps)


def test_edits_after_submission_change_no_queued_job(sweeps: Cluster, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for part in ("adaspan", "conf", "sweeps"):
        shutil.copytree(ROOT / part, mine / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "launch.py", mine)
    typed = [*sweeps.tiny, "train.seed=1,2", "hydra.launcher.sbatch.hold=true"]
    launcher = [sys.executable, str(mine / "launch.py")]
    end = sweeps.run(*launcher, *typed, cwd=mine, PYTHONPATH=str(mine))
    assert end.returncode == 0, end.stderr
    (mine / "adaspan" / "new.py").write_text("x = 1\n")
    again = sweeps.run(*launcher, *typed, cwd=mine, PYTHONPATH=str(mine))
    assert again.returncode == 2, "what waits in the queue is of other code, too"
    assert "2 of 2 runs are under way with other code (adaspan/new.py differs)" in again.stderr
    for edited in ("launch.py", "adaspan/trainer.py", "adaspan/slurm/job.py"):
        (mine / edited).write_text("raise SystemExit('edited')\n")
    for edited in ("config.yaml", "span/adaptive.yaml"):
        (mine / "conf" / edited).write_text("train: {steps: 1}\n")
    sweeps.ask("scontrol", "release", *sweeps.jobs())
    sweeps.wait_until_empty()
    assert all_done(sweeps), sweeps.explain()
    assert_undisturbed(sweeps, "train.seed=2")


def test_a_text_that_is_edited_after_submission_is_not_trained_on(
    sweeps: Cluster, text: Path
) -> None:
    sweeps.launch("train.seed=1", "hydra.launcher.sbatch.hold=true")
    text.write_text("quite another text, " * 200)
    sweeps.ask("scontrol", "release", *sweeps.jobs())
    sweeps.wait_until_empty()
    (run,) = json.loads(sweeps.adaspan("status", "--json").stdout)
    assert run["state"] == "failed"
    assert run["error"].startswith("data: ")
    assert "has changed since the run was begun" in run["error"]


def test_a_failure_stays_alone_and_is_explained(sweeps: Cluster) -> None:
    assert sweeps.launch("optimizer.lr=0.01,1e30,0.02").returncode == 0
    sweeps.wait_until_empty()
    assert sorted(sweeps.states().values()) == ["done", "done", "failed"]
    answer = sweeps.adaspan("status", "--json")
    assert answer.returncode == 1
    (failed,) = (run for run in json.loads(answer.stdout) if run["state"] == "failed")
    assert failed["error"].startswith("non-finite: step ")
    explained = sweeps.adaspan("explain", failed["run"])
    assert "error    non-finite: step" in explained.stdout
    assert "output.txt" in explained.stdout
    assert "optimizer.lr: 1e+30, others 0.01, 0.02" in explained.stdout
    assert "the loss is" in sweeps.logs(failed["run"]).stdout
    # What another job of the same run then ends of.
    setup = "hydra.launcher.setup=['echo no such module >&2','exit 3']"
    assert sweeps.launch("optimizer.lr=1e30", setup).returncode == 0
    sweeps.wait_until_empty()
    found = json.loads(sweeps.adaspan("status", "--json").stdout)
    (lost,) = (run for run in found if run["state"] == "lost")
    assert lost["run"] == failed["run"]
    assert lost["error"] == "code: no such module"
    assert "no such module" in Path(sweeps.runs.parent, lost["log"]).read_text()
    assert "no such module" in sweeps.logs(failed["run"]).stdout
    assert lost["log"] in sweeps.adaspan("explain", failed["run"]).stdout


def test_on_request_a_failure_takes_what_waits_out_of_the_queue(sweeps: Cluster) -> None:
    one_at_a_time = ("hydra.launcher.array_parallelism=1", "hydra.launcher.fail_fast=true")
    assert sweeps.launch("optimizer.lr=1e30,0.01,0.02", *one_at_a_time).returncode == 0
    sweeps.wait_until_empty()
    assert sorted(sweeps.states().values()) == ["cancelled", "cancelled", "failed"]


def test_a_mistake_that_only_the_node_can_see_is_one_line(sweeps: Cluster) -> None:
    sweeps.launch("train.seed=1", "train.device=cuda:0")
    sweeps.wait_until_empty()
    (run,) = json.loads(sweeps.adaspan("status", "--json").stdout)
    assert run["state"] == "failed"
    assert run["error"].startswith("configuration: train.device=cuda:0")


def test_a_run_that_needs_too_much_memory_says_so_and_is_not_tried_again(sweeps: Cluster) -> None:
    endless = ("train.steps=1000000", "train.eval_every=1000", "train.seed=1,3")
    too_little = ("hydra.launcher.mem=200M", "hydra.launcher.array_parallelism=1")
    assert sweeps.launch(*endless, *too_little, "hydra.launcher.fail_fast=true").returncode == 0
    itself_notices = "hydra.launcher.setup=[ulimit -v 4000000]"
    assert sweeps.launch(itself_notices, "span.limit=1099511627776", "train.seed=2").returncode == 0
    sweeps.wait_until_empty()
    found = json.loads(sweeps.adaspan("status", "--json").stdout)
    assert {run["state"]: run["error"].partition(":")[0] for run in found} == {
        "lost": "out of memory",
        "cancelled": "taken out of the queue before it started",
        "failed": "out of memory",
    }, sweeps.explain()
    (killed,) = (run for run in found if run["state"] == "lost")
    assert "hydra.launcher.mem" in killed["error"]
    starts = json.loads((sweeps.runs / killed["run"] / "starts.json").read_text())
    assert starts["in_vain"] == 0, "once"


@pytest.mark.parametrize(
    ("values", "setting", "becomes", "error"),
    [
        ("train.seed=1,2", "train.steps=40", "done", ""),
        ("optimizer.lr=1e30,1", "train.steps=40", "cancelled", "the canary failed: non-finite: "),
        (
            "train.seed=1,2",
            "hydra.launcher.mem=200M model.dim=2048",
            "cancelled",
            "the canary failed: out of memory: ",
        ),
    ],
    ids=["well", "diverges", "killed"],
)
def test_a_canary_goes_first(
    sweeps: Cluster, values: str, setting: str, becomes: str, error: str
) -> None:
    end = sweeps.launch(values, *setting.split(), "hydra.launcher.canary=true")
    assert "canary  job" in end.stdout, end.stderr
    sweeps.wait_until_empty()
    for run in json.loads(sweeps.adaspan("status", "--json").stdout):
        assert run["state"] == becomes, sweeps.explain()
        assert run["error"].startswith(error), sweeps.explain()
        assert Path(sweeps.runs.parent, run["log"]).exists()


def test_a_cancelled_run_takes_only_those_that_waited_for_it_along(sweeps: Cluster) -> None:
    held = ("hydra.launcher.canary=true", "hydra.launcher.sbatch.hold=true")
    assert sweeps.launch("train.seed=1,2", *held).returncode == 0
    first, second = (folder.name for folder in folders(sweeps))
    assert len(sweeps.ask("squeue", "-rho", "%i").split()) == 3
    assert "cancelled 1 of 1" in sweeps.adaspan("cancel", first).stdout
    assert len(sweeps.ask("squeue", "-rho", "%i").split()) == 2, "the canary and the other run"
    again = sweeps.launch("train.seed=1,2", *held)
    assert "1 to submit" in again.stdout, again.stderr
    assert "cancelled 2 of 2" in sweeps.adaspan("cancel", first, second).stdout
    sweeps.wait_until_empty()


def test_a_run_out_of_time_goes_on_or_is_resumable_or_timed_out_if_it_hangs(
    sweeps: Cluster,
) -> None:
    # SLURM looks at time limits twice a minute.
    a_minute = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=20")
    endless = ("train.steps=1000000", "train.eval_every=1000", *a_minute)
    forbidden = "hydra.launcher.sbatch.no_requeue=true"
    assert sweeps.launch("train.seed=1,2", forbidden, *endless).returncode == 0
    folder, hanging = folders(sweeps)
    assert sweeps.launch("train.seed=3", *endless).returncode == 0
    (requeued,) = {*folders(sweeps)} - {folder, hanging}
    sweeps.wait_until(lambda: all((f / "metrics.jsonl").exists() for f in folders(sweeps)))
    for process in sweeps.processes("--config-path"):
        os.setpriority(os.PRIO_PROCESS, process, 19)  # they only wait for their limit
    with sweeps.disk_that_hangs(hanging):
        sweeps.wait_until(lambda: len(sweeps.jobs()) == 1, seconds=300)
        sweeps.wait_until(lambda: "going on from" in (requeued / "output.txt").read_text())
        assert "cancelled 1 of 1" in sweeps.adaspan("cancel", requeued.name).stdout
        sweeps.wait_until_empty()
    assert status(folder)["state"] == "resumable"
    found = json.loads(sweeps.adaspan("status", "--json").stdout)
    (lost,) = (run for run in found if run["state"] == "lost")
    assert lost["run"] == hanging.name
    assert lost["error"] == "time-out: ended without a message"
    assert sweeps.adaspan("status").returncode == 1
    step = status(folder)["step"]
    again = sweeps.adaspan("resubmit", folder.name)
    assert "1 of 1 runs submitted" in again.stdout, again.stderr
    going_on = f"going on from step {step}"
    sweeps.wait_until(lambda: going_on in (folder / "output.txt").read_text())


def test_jobs_whose_nodes_failed_as_they_started_are_not_held_back_for_ever(
    sweeps: Cluster,
) -> None:
    with sweeps.nodes_that_fail():
        assert sweeps.launch("train.seed=1,2").returncode == 0
        sweeps.wait_until(lambda: sweeps.ask("squeue", "-rho", "%r").count("held") == 2)
        assert "launch failed requeued held" in sweeps.adaspan("status").stdout
    again = sweeps.adaspan("resubmit", folders(sweeps)[0].name)
    assert "1 under way, 1 of them released" in again.stdout, again.stderr
    # The job of the first run lets go of the second.
    sweeps.wait_until_empty()
    assert all_done(sweeps), sweeps.explain()


def test_a_run_whose_node_fails_goes_on_elsewhere(sweeps: Cluster) -> None:
    longer = ("train.steps=800", "train.micro_batches=1", "train.eval_every=400")
    assert sweeps.launch("train.seed=1", *longer).returncode == 0
    (folder,) = folders(sweeps)
    sweeps.wait_until(lambda: status_or_none(folder) == "running" and len(rows(folder)) > 5)
    (node,) = sweeps.ask("squeue", "-ho", "%N").split()
    with sweeps.node_down(node):
        sweeps.wait_until_empty()
    assert all_done(sweeps), sweeps.explain()
    assert "going on from step" in (folder / "output.txt").read_text()
    assert_undisturbed(sweeps, f"train.seed=1 {' '.join(longer)}")


def test_a_cancelled_run_saves_and_stays_out_of_the_queue(sweeps: Cluster) -> None:
    one_at_a_time = "hydra.launcher.array_parallelism=1"
    assert sweeps.launch("train.seed=1,2", "train.steps=3000", one_at_a_time).returncode == 0
    sweeps.wait_until(lambda: any(status_or_none(f) and len(rows(f)) > 5 for f in folders(sweeps)))
    queue = sweeps.ask("squeue", "-rho", "%T %r").splitlines()
    assert sorted(queue) == ["PENDING JobArrayTaskLimit", "RUNNING None"]
    end = sweeps.adaspan("cancel", "multirun")
    assert "cancelled 2 of 2 runs" in end.stdout, end.stderr
    sweeps.wait_until_empty()
    assert sorted(sweeps.states().values()) == ["cancelled", "resumable"]


@OPTUNAS_WARNINGS
def test_a_sweep_can_be_waited_for_and_searched(sweeps: Cluster) -> None:
    refused = sweeps.launch("hydra/sweeper=optuna", "span.limit=choice(16,24)")
    assert refused.returncode == 2
    assert "hydra.launcher.wait=true" in refused.stderr
    end = sweeps.launch(
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.n_jobs=2",
        "hydra.sweeper.sampler.seed=1",
        "hydra.sweeper.direction=[minimize,minimize]",
        "hydra.launcher.wait=true",
        "hydra.launcher.objectives=[final/valid_bpb,flops/paper_macs_per_token]",
        "span.limit=choice(8,16,24)",
        "span.loss_coefficient=tag(log,interval(1e-7,1e-2))",
        "train.steps=20",
    )
    assert end.returncode == 0, end.stderr
    (found,) = sweeps.runs.glob("sweeps/search-*/optimization_results.yaml")
    assert "solutions" in found.read_text()
    assert all_done(sweeps)


@OPTUNAS_WARNINGS
def test_a_search_stays_within_its_gpu_hours(sweeps: Cluster) -> None:
    tiny = [o for o in sweeps.tiny if o != "-m" and not o.startswith("hydra")]
    hours = training_flops(compose_run(*tiny, "train.steps=20")) / 40e12 / 3600
    end = sweeps.launch(
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.sampler.seed=1",
        "hydra.launcher.wait=true",
        "train.seed=choice(1,2,3,4,5,6,7,8)",
        "train.steps=20",
        f"hydra.launcher.max_gpu_hours={1.5 * hours}",
    )
    assert end.returncode == 2
    assert "hydra.launcher.max_gpu_hours=" in end.stderr
    assert len(folders(sweeps)) == 1


def test_two_nodes_train_one_run_and_are_preempted(sweeps: Cluster, tmp_path: Path) -> None:
    two = ("hydra.launcher.nodes=2", "train.steps=300", "train.seed=1")
    alone = [o for o in sweeps.tiny if o != "-m" and not o.startswith(("hydra", "output_dir"))]
    run_ranks(tmp_path, *alone, *two[1:], f"output_dir={tmp_path}/alone")
    (expected,) = (tmp_path / "alone").iterdir()

    assert sweeps.launch(*two).returncode == 0
    (folder,) = folders(sweeps)
    sweeps.wait_until(lambda: status_or_none(folder) == "running" and len(rows(folder)) > 5)
    sweeps.ask(
        "sbatch", "-p", "high", "-N", "1", "--exclusive", "-o", "/dev/null", "--wrap=sleep 1"
    )
    sweeps.wait_until_empty()
    assert all_done(sweeps), sweeps.explain()
    assert "going on from step" in (folder / "output.txt").read_text()
    assert rows(folder) == rows(expected)
    assert_same(final_state(folder), final_state(expected))


def test_what_a_run_prints_can_be_followed(sweeps: Cluster) -> None:
    assert sweeps.launch("train.seed=1").returncode == 0
    (folder,) = folders(sweeps)
    sweeps.wait_until(lambda: (folder / "output.txt").exists())
    with subprocess.Popen(
        [Path(sys.executable).parent / "adaspan", "logs", folder.name, "-f"],
        cwd=sweeps.runs.parent,
        env=sweeps.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert any(line.startswith("bpb ") for line in following.stdout), "its last lines, live"
        following.terminate()


def test_a_run_gets_a_gpu_where_its_partition_has_some(sweeps: Cluster) -> None:
    """SLURM gives one away that is none, so that it goes on on a CPU."""
    gpus = ("hydra.launcher.partition=gpu", "train.seed=1,2")
    assert sweeps.launch(*gpus).returncode == 0
    sweeps.wait_until(lambda: "RUNNING" in sweeps.ask("squeue", "-rho", "%T"))
    queue = sorted(sweeps.ask("squeue", "-rho", "%T %b").splitlines())
    assert queue == ["PENDING gres:gpu:1", "RUNNING gres:gpu:1"], "there is one"
    sweeps.wait_until_empty()
    assert all_done(sweeps), sweeps.explain()
    # The default partition has none, whatever others have.
    assert "--gpus" not in sweeps.launch("hydra.launcher.dry_run=true").stdout
    default = sweeps.launch("hydra.launcher.dry_run=true", "hydra.launcher.partition=null")
    assert default.returncode == 0, default.stderr
    assert "--gpus" not in default.stdout


def test_the_doctor_looks_at_the_cluster(sweeps: Cluster) -> None:
    end = sweeps.adaspan("doctor")
    assert end.returncode == 0, end.stdout + end.stderr
    for line in (
        "REQUEUE, with a signal in advance",
        "array limit",
        "nodes see it",
        "scontrol on nodes",
        "runs will train on CPUs",
    ):
        assert line in end.stdout
    believed = sweeps.adaspan("doctor", "--partition", "gpu")
    assert "nvidia-smi sees none" in believed.stdout
