"""The README's commands for a cluster work as they stand, one after the other."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tests.cluster.conftest import Cluster
from tests.conftest import ROOT
from tests.test_readme import ON_A_CLUSTER


def test_the_commands_for_a_cluster_work(sweeps: Cluster, tmp_path: Path, text: Path) -> None:
    bin_folder = f"{Path(sys.executable).parent}:{sweeps.environment()['PATH']}"
    # A small text, and jobs that are not started: what they do is tested elsewhere.
    less = f" data=text data.path={text} data_dir={tmp_path} hydra.launcher.sbatch.hold=true"
    shown = {}
    for command in ON_A_CLUSTER:
        words = shlex.split(command + (less if "launch.py" in command else ""))
        here = [str(ROOT / word) if word == "launch.py" else word for word in words]
        end = sweeps.run(*here, PATH=bin_folder)
        assert end.returncode in ((0, 3) if "status" in command else (0,)), end.stderr
        shown[" ".join(words[:2])] = end.stdout
    assert "nodes see it" in shown["adaspan doctor"]
    assert "6 runs: 0 done, 0 under way, 6 to submit" in shown["python launch.py"]
    assert shown["adaspan status"].count("queued PENDING") == 6
    assert "span: fixed, others adaptive" in shown["adaspan explain"]
