"""A real SLURM on this machine: a controller and three nodes on loopback, for any one user.

    python -m tests.cluster.slurm FOLDER    # starts one and shows how to use it; Ctrl-C ends it

Jobs of the partition `main` are preempted by those of `high`: USR2 at once, TERM ten seconds later,
KILL after five more, then back into the queue. SLURM believes that the node of the partition `gpu`
has one GPU. A job that uses more memory than it asked for is killed. While FOLDER/prolog-fails
exists, no job can start: the node is drained, the job goes back into the queue and is held there.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NODES = {"n1": "", "n2": "", "gpu1": "Gres=gpu:1"}
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=cred_expire=5,socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=3000
GresTypes=gpu
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=1
MpiDefault=none
ReturnToService=2
KillWait=5
MaxArraySize=8
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
Prolog={folder}/prolog
{nodes}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=1440 PriorityTier=1 GraceTime=10
PartitionName=high Nodes=n1,n2 MaxTime=1440 PriorityTier=10 PreemptMode=OFF
PartitionName=gpu Nodes=gpu1 MaxTime=1440
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    environment: dict[str, str]  # with which SLURM's commands reach it
    prolog_fails: Path  # while it exists

    def ask(self, *command: str) -> str:
        """What one of SLURM's commands prints."""
        return subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Start a cluster, and end it afterwards. What it needs is there: `tests/system.py`.

    Args:
        folder: for its state and logs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir()
    host = socket.gethostname().split(".")[0]
    port, *node_ports = _free_ports(1 + len(NODES))
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} "
        f"CPUs=2 RealMemory=8000 {more}"
        for (node, more), node_port in zip(NODES.items(), node_ports, strict=True)
    )
    configuration = folder / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            host=host, port=port, folder=folder, nodes=nodes, user=getpass.getuser()
        )
    )
    (folder / "gres.conf").write_text("NodeName=gpu1 Name=gpu File=/dev/zero\n")
    prolog, prolog_fails = folder / "prolog", folder / "prolog-fails"
    prolog.write_text(f"#!/bin/sh\n[ ! -e {prolog_fails} ]\n")
    prolog.chmod(0o755)
    cluster = Cluster({"SLURM_CONF": str(configuration)}, prolog_fails)
    daemons = [
        _munge(folder),
        ["slurmctld", "-D"],
        *(["slurmd", "-D", "-N", node] for node in NODES),
    ]
    environment = {**os.environ, **cluster.environment}
    environment["PATH"] += ":/usr/sbin"  # where not everybody looks
    processes = [
        subprocess.Popen(
            daemon,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for daemon in daemons
    ]
    try:
        _wait_until_idle(cluster, folder)
        yield cluster
    finally:
        subprocess.run(["scancel", f"--user={getpass.getuser()}"], env=environment, check=False)
        for process in reversed(processes):
            process.terminate()
        for process in reversed(processes):
            process.wait(timeout=60)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _munge(folder: Path) -> list[str]:
    """The daemon by which SLURM's processes know one another, with a key of its own."""
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    files = {
        "socket": folder / "munge.socket",
        "key-file": key,
        "pid-file": folder / "munge.pid",
        "seed-file": folder / "munge.seed",
        "log-file": folder / "munge.log",
    }
    options = [f"--{name}={path}" for name, path in files.items()]
    return ["munged", "--foreground", "--force", *options]  # whoever else may write to the folder


def _wait_until_idle(cluster: Cluster, folder: Path) -> None:
    for _ in range(120):
        try:
            states = cluster.ask("sinfo", "-h", "-N", "-p", "main,gpu", "-o", "%T").split()
            if states == ["idle"] * len(NODES):
                return
        except subprocess.CalledProcessError:
            pass
        time.sleep(0.5)
    logs = "\n".join(log.read_text()[-2000:] for log in folder.glob("*.log"))
    raise RuntimeError(f"SLURM did not start:\n{logs}")


if __name__ == "__main__":
    with running(Path(sys.argv[1]).resolve()) as started:
        print(" ".join(f"export {key}={value}" for key, value in started.environment.items()))
        while True:
            time.sleep(60)
