"""How Hydra gets to `adaspan.sweep` and to sweeps/: a sweeper, launchers, a search path.

Hydra imports this at every start, and takes plugins from a package of this name only; so nothing
heavy is imported before it is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from adaspan.places import DEFAULTS, PACKAGE

if TYPE_CHECKING:
    from adaspan.config.schema import LocalLauncherConfig, RunConfig, SlurmLauncherConfig
    from adaspan.sweep.jobs import Sweep

_ROOT = PACKAGE.parent


class SweepFiles(SearchPathPlugin):
    """Lets `sweeps=NAME` name a file of sweeps/, which stands beside conf/ and not in it."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("adaspan", f"file://{DEFAULTS}")


class GridSweeper(Sweeper):
    """Every combination of values, times every point of paired values.

    Args:
        params: values to combine, `key: "a,b"`, which the command line adds to and overrides.
        paired: points, each a mapping of keys to values that belong together.
    """

    def __init__(
        self, params: Mapping[str, str] | None, paired: Sequence[Mapping[str, Any]] | None
    ) -> None:
        self._params = params or {}
        self._paired = paired or [{}]

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from hydra.core.plugins import Plugins

        self._context = hydra_context
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Launch all jobs at once.

        Raises:
            UserError: what was given cannot be swept over.
        """
        from adaspan.config.hydra import written
        from adaspan.errors import UserError

        parser = OverridesParser.create(config_loader=self._context.config_loader)
        given = [*(f"{key}={values}" for key, values in self._params.items()), *arguments]
        choices: dict[str, list[str]] = {}
        for override in parser.parse_overrides(given):
            key = override.get_key_element()
            if not override.is_sweep_override():
                choices[key] = [f"{key}={override.get_value_element_as_str()}"]
            elif key == "sweeps" or not override.is_discrete_sweep():
                raise UserError(f"{override.input_line}: cannot be swept over; name one at a time")
            else:
                choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        points = [[f"{key}={written(v)}" for key, v in point.items()] for point in self._paired]
        return self._launcher.launch(
            [[*point, *chosen] for point in points for chosen in product(*choices.values())], 0
        )


class _SweepLauncher(Launcher):
    """What both launchers do before anything is trained: compose and check every run."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._context = hydra_context
        self._config = config

    def _plan(
        self,
        job_overrides: Sequence[Sequence[str]],
        settings: LocalLauncherConfig | SlurmLauncherConfig,
        processes: int,
    ) -> Sweep:
        """The runs, each trained by so many processes.

        Raises:
            UserError: all mistakes of the launcher and of all runs.
        """
        from adaspan.config.hydra import to_run_config
        from adaspan.config.mistakes import explained_errors
        from adaspan.config.validate import launcher_mistakes, validate_shares
        from adaspan.errors import UserError
        from adaspan.sweep.jobs import plan
        from adaspan.sweep.results import objective_mistakes

        if settings.dry_run and not self._sees_all_runs():
            raise UserError("hydra.launcher.dry_run=true: a search chooses its runs as it goes")

        def compose(overrides: Sequence[str]) -> RunConfig:
            with explained_errors():
                composed = self._context.config_loader.load_sweep_config(
                    self._config, list(overrides)
                )
                with open_dict(composed):
                    del composed["hydra"]
                run = to_run_config(composed)
                validate_shares(run, max(1, processes))
                return run

        mistakes = [*launcher_mistakes(settings), *objective_mistakes(settings.objectives)]
        hydra = self._config.hydra
        kind = (hydra.runtime.choices.get("sweeps") or "multirun").replace("/", "-")
        identity = None if self._sees_all_runs() else _digest(hydra.overrides.task)
        try:
            sweep = plan(job_overrides, compose, kind, identity)
        except UserError as error:
            raise UserError("\n".join([*mistakes, str(error)])) from error
        if mistakes:
            raise UserError("\n".join(mistakes))
        return sweep

    def _sees_all_runs(self) -> bool:
        """Whether the sweeper asks once, for all runs, and wants no results."""
        sweeper: str = self._config.hydra.sweeper._target_
        return sweeper.startswith(("hydra_plugins.adaspan_sweeps.", "hydra._internal."))

    def _results(self, sweep: Sweep, objectives: Sequence[str] | None) -> Sequence[JobReturn]:
        """For every run that was asked for: its values of the objectives, or its failure."""
        from adaspan.sweep.results import results

        # Where a search writes what it has found.
        Path(self._config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        found = []
        for job, values in zip(sweep.asked, results(sweep.asked, objectives), strict=True):
            answer = JobReturn()
            failed = isinstance(values, Exception)
            answer.status = JobStatus.FAILED if failed else JobStatus.COMPLETED
            answer.return_value = values
            answer.overrides = [f"{key}={value}" for key, value in job.varies.items()]
            found.append(answer)
        return found


class LocalLauncher(_SweepLauncher):
    """Trains the runs of a sweep on this machine; see `adaspan.sweep.local`.

    Args:
        settings: fields of `LocalLauncherConfig`.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Check every run, then train what is not done."""
        from adaspan.config.schema import LocalLauncherConfig
        from adaspan.errors import RunError
        from adaspan.status.table import show
        from adaspan.sweep.cost import preview
        from adaspan.sweep.jobs import prepare_data, write_manifest
        from adaspan.sweep.local import train_all

        settings = LocalLauncherConfig(**_plain(self._settings))
        sweep = self._plan(job_overrides, settings, processes=1)
        if settings.dry_run:
            show(preview(sweep))
            return []
        data = prepare_data(sweep)
        write_manifest(sweep)
        try:
            train_all(sweep, data, _ROOT / "launch.py", settings.processes, settings.fail_fast)
        except RunError:
            if self._sees_all_runs():
                raise  # a search decides for itself how many failures are too many
        return [] if self._sees_all_runs() else self._results(sweep, settings.objectives)


class SlurmLauncher(_SweepLauncher):
    """Submits the runs of a sweep to SLURM; see `adaspan.sweep.cluster`.

    Args:
        settings: fields of `SlurmLauncherConfig`.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._gpu_hours = 0.0  # that a search has asked for so far

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Check every run, then submit what is missing.

        Raises:
            UserError: a search, which needs results, but is not to wait for them.
        """
        from adaspan.config.schema import SlurmLauncherConfig
        from adaspan.errors import RunError, UserError
        from adaspan.slurm import cluster
        from adaspan.slurm.sbatch import check_settings, sbatch_text
        from adaspan.status.table import show
        from adaspan.sweep.cluster import missing_jobs, show_end, submit_missing, wait_for
        from adaspan.sweep.cost import check_cost, gpu_hours, preview
        from adaspan.sweep.jobs import prepare_data, write_manifest

        settings = SlurmLauncherConfig(**_plain(self._settings))
        if not settings.dry_run and not cluster.available():
            raise UserError(
                "hydra/launcher=slurm: no SLURM here (no sbatch); submit from a login node of the "
                "cluster, or say hydra/launcher=local to train on this machine"
            )
        if not settings.wait and not self._sees_all_runs():
            raise UserError(
                f"hydra.sweeper={self._config.hydra.sweeper._target_}: needs the results of runs; "
                "add hydra.launcher.wait=true"
            )
        sweep = self._plan(job_overrides, settings, settings.nodes * settings.tasks_per_node)
        missing = missing_jobs(sweep)
        hours = gpu_hours(missing, settings.gpu_tflops)
        # A preview can be had without a SLURM that answers.
        with suppress(RunError) if settings.dry_run else nullcontext():
            check_settings(sweep.folder, settings, _ROOT)
        if settings.dry_run:
            show(preview(sweep, settings.gpu_tflops))
            print(f"{len(missing)} to submit, {hours:.3g} GPU-hours at most")
            if missing:
                print(sbatch_text(len(missing), sweep.folder, settings, Path("CODE")))
        self._gpu_hours += hours
        check_cost(self._gpu_hours, settings.gpu_tflops, settings.max_gpu_hours)
        if settings.dry_run:
            return []
        data = prepare_data(sweep)
        write_manifest(sweep)
        submit_missing(sweep, data, _ROOT, settings, settings.canary)
        if not settings.wait:
            return []
        wait_for(sweep)
        if self._sees_all_runs():
            show_end(sweep)
            return []
        return self._results(sweep, settings.objectives)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Lists and dictionaries in place of OmegaConf's."""
    plain: Any = OmegaConf.to_container(OmegaConf.create(settings))
    return plain  # type: ignore[no-any-return]


def _digest(overrides: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:6]
