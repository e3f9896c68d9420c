"""A job runs the extensions that there were when it was submitted."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster.conftest import QUICK_SLURM, Cluster
from tests.conftest import command
from tests.extensions import EVERY_KIND, write_files
from tests.processes import rows, status


def test_a_job_has_the_extensions_of_its_submission(sweeps: Cluster, tmp_path: Path) -> None:
    write_files(tmp_path)
    held = "hydra.launcher.sbatch.hold=true"
    end = sweeps.run(*command("-m", *QUICK_SLURM, *EVERY_KIND, "span.limit=8,16", held))
    assert end.returncode == 0, end.stderr
    for module in tmp_path.glob("my_*.py"):
        module.write_text("raise Exception('edited since')")
    assert sweeps.adaspan("status").returncode == 3, "looking does not import them"
    sweeps.ask("scontrol", "release", *sweeps.jobs())
    sweeps.wait_until_empty()
    runs = sorted(path.parent for path in sweeps.runs.glob("*/config.yaml"))
    assert [status(run)["state"] for run in runs] == ["done", "done"], sweeps.explain()
    for run in runs:
        assert rows(run)[-1]["valid/confidence"] > 0
        (source, *_) = json.loads((run / "source.json").read_text())
        file = Path(source["extensions"]["my_spans"]["file"])
        assert file.parent.parent.parent == sweeps.runs / "code"
