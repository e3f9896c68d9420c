"""What a launcher does: plan and check a sweep as a whole; show it, or train it and give a search
its results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from adaspan import ranks
from adaspan.config.schema import LocalLauncherConfig, RunConfig, SlurmLauncherConfig
from adaspan.config.sweeps import Request
from adaspan.config.validate import launcher_mistakes, validate_shares
from adaspan.errors import RunError, UserError
from adaspan.places import CODE
from adaspan.runs.command import program_of
from adaspan.slurm import cluster
from adaspan.slurm.sbatch import check_settings, sbatch_text
from adaspan.status.table import show
from adaspan.sweep.cluster import code_under_way, missing_jobs, show_end, submit_missing, wait_for
from adaspan.sweep.code import frozen_code, other_code, require_same_code
from adaspan.sweep.cost import check_cost, gpu_hours, preview
from adaspan.sweep.local import train_all
from adaspan.sweep.plan import Job, Sweep, plan, prepare_data, write_manifest
from adaspan.sweep.results import Values, objective_mistakes, results

# Of each run that a search wants, in its order; empty for a sweep that is no search.
Results = list[tuple[Job, Values | RunError]]


class OnThisMachine:
    """Trains sweeps on this machine; see `local.py`."""

    def __init__(self, settings: LocalLauncherConfig) -> None:
        self._settings = settings
        self._code: Path | None = None  # frozen once, for all runs that a search asks for

    def launch(self, request: Request) -> Results:
        """Check every run, then train what is not done.

        Raises:
            UserError: all mistakes of the launcher and of all runs.
            RunError: some runs failed, and they are not a search's.
        """
        settings = self._settings
        sweep = _planned(request, settings, processes=1)
        if settings.dry_run:
            show(preview(sweep))
            _tell_other_code(sweep, {})
            return []
        require_same_code(sweep, {})
        data = prepare_data(sweep)
        write_manifest(sweep, request.typed)
        self._code = self._code or frozen_code(sweep)
        program = program_of(self._code)
        try:
            train_all(sweep, data, program, settings.processes, settings.fail_fast)
        except RunError:
            if not request.search:
                raise  # a search decides for itself how many failures are too many
        return _results(sweep, settings.objectives) if request.search else []


class OnACluster:
    """Submits sweeps to SLURM; see `cluster.py`."""

    def __init__(self, settings: SlurmLauncherConfig) -> None:
        self._settings = settings
        self._gpu_hours = 0.0  # that a search has asked for so far
        self._code: Path | None = None  # frozen once, for all runs that it asks for

    def launch(self, request: Request) -> Results:
        """Check every run, then submit what is missing.

        Raises:
            UserError: all mistakes of the launcher and of all runs; no SLURM; a search, which needs
                results, but is not to wait for them.
            RunError: SLURM does not answer, or some runs that were waited for failed.
        """
        settings = self._settings
        _check_place(request, settings)
        sweep = _planned(request, settings, settings.nodes * settings.tasks_per_node)
        # A preview needs no SLURM that answers.
        with suppress(RunError) if settings.dry_run else nullcontext():
            check_settings(sweep.folder, settings, CODE)
        self._check_cost(sweep)
        if settings.dry_run:
            _tell_other_code(sweep, code_under_way(sweep))
            return []
        require_same_code(sweep, code_under_way(sweep))
        data = prepare_data(sweep)
        write_manifest(sweep, request.typed)
        self._code = self._code or frozen_code(sweep)
        submit_missing(sweep, data, self._code, settings, settings.canary)
        if settings.wait:
            wait_for(sweep)
            if request.search:
                return _results(sweep, settings.objectives)
            show_end(sweep)
        return []

    def _check_cost(self, sweep: Sweep) -> None:
        """Refuse what may cost too much; with dry_run, show the runs and what they may cost."""
        settings = self._settings
        missing = missing_jobs(sweep)
        hours = gpu_hours(missing, settings.gpu_tflops)
        if settings.dry_run:
            show(preview(sweep, settings.gpu_tflops))
            print(f"{len(missing)} to submit, {hours:.3g} GPU-hours at most")
            # Of a sweep that is done, too: who asks to see the script may want to check a setting.
            count = len(missing) or len(sweep.jobs)
            print(sbatch_text(count, sweep.folder, settings, Path("CODE")))
        self._gpu_hours += hours
        check_cost(self._gpu_hours, settings.gpu_tflops, settings.max_gpu_hours)


def _check_place(request: Request, settings: SlurmLauncherConfig) -> None:
    if not settings.dry_run and not cluster.available():
        raise UserError(
            "hydra/launcher=slurm: no SLURM here (no sbatch); is this a login node of a cluster? "
            "hydra/launcher=local trains here"
        )
    if request.search and not settings.wait:
        raise UserError(
            f"hydra.sweeper={request.search.sweeper}: needs the results of runs; "
            "add hydra.launcher.wait=true"
        )


def _tell_other_code(sweep: Sweep, under_way: Mapping[str, Path]) -> None:
    """What a preview says of runs that the sweep itself would be refused for."""
    for line in other_code(sweep, under_way):
        print(line)


def _planned(
    request: Request, settings: LocalLauncherConfig | SlurmLauncherConfig, processes: int
) -> Sweep:
    """The runs, each trained by so many processes.

    Raises:
        UserError: all mistakes of the launcher and of all runs.
    """
    if (count := ranks.world_size()) > 1:
        raise UserError(
            f"-m: a sweep starts its runs itself, but torchrun has started it {count} times; type "
            f"it without torchrun; hydra/launcher=slurm trains each run by several processes"
        )
    if settings.dry_run and request.search:
        raise UserError(
            "hydra.launcher.dry_run=true: a search chooses its runs as it goes, it cannot show "
            "them beforehand; leave dry_run out"
        )

    def compose(overrides: Sequence[str]) -> RunConfig:
        config = request.compose(overrides)
        validate_shares(config, max(1, processes))
        return config

    mistakes = [*launcher_mistakes(settings), *objective_mistakes(settings.objectives)]
    search = request.search
    of_search = (search.identity, search.fixed) if search else ()
    try:
        sweep = plan(request.overrides, compose, request.kind, *of_search)
    except UserError as error:
        raise UserError("\n".join([*mistakes, str(error)])) from error
    if mistakes:
        raise UserError("\n".join(mistakes))
    return sweep


def _results(sweep: Sweep, objectives: Sequence[str] | None) -> Results:
    return list(zip(sweep.requested, results(sweep.requested, objectives), strict=True))
