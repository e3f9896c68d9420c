"""How Hydra gets to `adaspan.sweep`: a sweeper and launchers.

Hydra imports this at every start, and takes plugins from a package of this name only; so nothing
heavy is imported before it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

_ROOT = Path(__file__).parents[3]


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
        points = [[f"{key}={value}" for key, value in point.items()] for point in self._paired]
        return self._launcher.launch(
            [[*point, *chosen] for point in points for chosen in product(*choices.values())], 0
        )


class LocalLauncher(Launcher):
    """Trains the runs of a sweep on this machine; see `adaspan.sweep.local`.

    Args:
        processes: runs at once; None: one a GPU, or one at a time.
        fail_fast: start no more after the first failure.
        dry_run: only show the runs.
    """

    def __init__(self, processes: int | None, fail_fast: bool, dry_run: bool) -> None:
        self._processes = processes
        self._fail_fast = fail_fast
        self._dry_run = dry_run

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._context = hydra_context
        self._config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Check every job, then train what is not done. Nothing is returned to the sweeper."""
        from adaspan.config.compose import explained_errors, to_run_config
        from adaspan.config.schema import RunConfig
        from adaspan.sweep.jobs import plan, prepare_data, write_manifest
        from adaspan.sweep.local import show, train_all

        def compose(overrides: Sequence[str]) -> RunConfig:
            with explained_errors():
                composed = self._context.config_loader.load_sweep_config(
                    self._config, list(overrides)
                )
                with open_dict(composed):
                    del composed["hydra"]
                return to_run_config(composed)

        kind = self._config.hydra.runtime.choices.get("sweeps") or "multirun"
        sweep = plan(job_overrides, compose, kind)
        if self._dry_run:
            show(sweep)
        else:
            prepare_data(sweep)
            write_manifest(sweep)
            train_all(sweep, _ROOT / "launch.py", self._processes, self._fail_fast)
        return []
