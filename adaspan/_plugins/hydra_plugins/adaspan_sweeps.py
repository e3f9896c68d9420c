"""How Hydra finds our sweeper and our launchers; what they do is in `adaspan.sweep`.

Hydra imports this at every start, and takes plugins from a package of this name only; so nothing
heavy is imported before it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from adaspan.sweep.launchers import OnACluster, OnThisMachine, Results


class GridSweeper(Sweeper):
    """Has all runs of a grid launched at once.

    Args:
        params: values to combine, see `adaspan.config.sweeps.grid`.
        paired: points of values that belong together.
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

        self._loader = hydra_context.config_loader
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        from adaspan.config.sweeps import grid

        runs = grid(self._params, self._paired, arguments, self._loader)
        return self._launcher.launch(runs, initial_job_idx=0)


class _SweepLauncher(Launcher):
    """Asks for the runs that Hydra wants, and gives a search their results in Hydra's terms."""

    _launcher: OnThisMachine | OnACluster

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._loader = hydra_context.config_loader
        self._config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from adaspan.config.sweeps import request_of

        request = request_of(self._config, job_overrides, self._loader)
        results = self._launcher.launch(request)
        if request.search:
            request.search.path.mkdir(parents=True, exist_ok=True)
        return _job_returns(results)


class LocalLauncher(_SweepLauncher):
    """Trains the runs of a sweep on this machine.

    Args:
        settings: fields of `LocalLauncherConfig`.
    """

    def __init__(self, **settings: Any) -> None:
        from adaspan.config.schema import LocalLauncherConfig
        from adaspan.config.sweeps import plain
        from adaspan.sweep.launchers import OnThisMachine

        self._launcher = OnThisMachine(LocalLauncherConfig(**plain(settings)))


class SlurmLauncher(_SweepLauncher):
    """Submits the runs of a sweep to SLURM.

    Args:
        settings: fields of `SlurmLauncherConfig`.
    """

    def __init__(self, **settings: Any) -> None:
        from adaspan.config.schema import SlurmLauncherConfig
        from adaspan.config.sweeps import plain
        from adaspan.sweep.launchers import OnACluster

        self._launcher = OnACluster(SlurmLauncherConfig(**plain(settings)))


def _job_returns(results: Results) -> list[JobReturn]:
    returns = []
    for job, values in results:
        answer = JobReturn()
        failed = isinstance(values, Exception)
        answer.status = JobStatus.FAILED if failed else JobStatus.COMPLETED
        answer.return_value = values
        answer.overrides = [f"{key}={value}" for key, value in job.varies.items()]
        returns.append(answer)
    return returns
