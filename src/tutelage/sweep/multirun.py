"""A Hydra multirun with any sweeper and launcher: its folder, one teacher, progress and report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tutelage.config.apart import check_apart
from tutelage.config.build import task_class
from tutelage.config.overrides import readable
from tutelage.config.schema import RunConfig
from tutelage.config.typed import typed_config
from tutelage.errors import ConfigError, RunError, did_you_mean
from tutelage.launch import as_value, job_overrides, shown, split_flags, under_hydra
from tutelage.sweep.expected import expected_jobs
from tutelage.sweep.job import do_job, refuse_job
from tutelage.sweep.record import SweepFolder
from tutelage.sweep.session import make_folder, print_line, print_summary, session
from tutelage.terminal import new_console


def multirun(arguments: Sequence[str]) -> int:
    """Does the jobs of a multirun, each in a fresh process.

    Jobs finished by an earlier sweep of the same name are found, not repeated.

    Args:
        arguments: The command line after ``train``; -m may be missing if it names a sweep.

    Returns:
        The exit code: 0 if every job is done, else the largest exit code of a job.

    Raises:
        TutelageError: Nothing could be started, or the sweep ended early.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    # Compose the first job before anything starts.
    flags, typed = split_flags(arguments)
    if unknown := [flag for flag in flags if flag not in ("-m", "--multirun")]:
        raise ConfigError(
            f"A multirun takes overrides and -m, not {unknown[0]}: its jobs are separate processes "
            "and would not see it. Leave it out."
        )
    overrides = readable(typed, many=True)
    expected = expected_jobs(overrides)
    check_metric(expected.config)
    check_apart([expected.overrides])

    # The folder; a named one may be used again.
    named = any(override.startswith("hydra.sweep.dir=") for override in overrides)
    folder = make_folder(expected.config.hydra.sweep_dir.resolve(), named=named)
    sweep = SweepFolder(folder)
    metric = expected.config.sweep.metric or _headline_metrics(expected.config)[0]
    console = new_console()
    print_line(
        console,
        f"sweep {expected.config.sweep.name}: {expected.total or 'some'} jobs in {shown(folder)}",
    )

    own = [f"hydra.sweep.dir={as_value(folder)}"]
    if expected.config.hydra.sweeper.endswith("OptunaSweeper") and not any(
        "max_failure_rate" in override for override in overrides
    ):
        own.append("hydra.sweeper.max_failure_rate=1.0")  # a failed trial does not end the search

    failure: RunError | None = None
    with session(
        expected.config,
        sweep,
        expected.total,
        lambda job: job.title(expected.swept),
        metric,
        console,
    ):
        try:
            under_hydra(job, [*overrides, *own, "-m"])
        except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
            # A job that does not compose, a folder that cannot be made, or a search whose trials
            # all failed.
            failure = RunError(f"The sweep ended early: {' '.join(str(error).split())}")
        except RuntimeError as error:
            # Optuna's grid stops the study at its last trial, which Hydra's sweeper does not expect
            # if that trial failed. Every trial is done by then.
            if "Study.stop" not in str(error):
                raise
            print_line(
                console,
                "The last trial of the grid failed, so Optuna wrote no optimization_results.yaml; "
                "the report has every trial.",
            )

    if print_summary(sweep, console)["done"]:
        # Imported late, because a launcher's workers import this module.
        from tutelage.sweep.page import write_sweep_report

        try:
            report = shown(write_sweep_report(folder, expected.config.sweep.metric))
        except (RunError, KeyError) as error:  # arms of two tasks, for instance: no common metric
            report = f"not drawn: {error}"
        print_line(console, f"report   {report}")
    if failure is not None:
        raise failure
    return max((one.code for one in sweep.jobs()), default=0)


def job(composed: Any) -> float | None:
    """Hydra's task: one job of a multirun, in the process chosen by the launcher.

    Returns:
        The sweep's metric, for a sweeper that optimises it.

    Raises:
        RunError: The job failed and a sweeper needs its score.
    """
    from hydra.core.hydra_config import HydraConfig

    hydra_config = HydraConfig.get()
    sweep, number = SweepFolder(Path(hydra_config.sweep.dir)), int(hydra_config.job.num)
    metric: str | None = None
    try:
        # The job's own process checks it against its targets.
        config = typed_config(composed, hydra_config, import_targets=False)
        metric = config.sweep.metric
        record = do_job(config, sweep, number, job_overrides())
    except ConfigError as error:
        record = refuse_job(sweep, number, job_overrides(), error)
    if record.score is None and not str(hydra_config.sweeper._target_).endswith("BasicSweeper"):
        raise RunError(
            f"job {record.number} ({' '.join(record.overrides)}) has no {metric or 'score'}: "
            f"{record.error}"
        )
    return record.score


def _headline_metrics(config: RunConfig) -> tuple[str, ...]:
    return tuple(metric.key for metric in task_class(config).headline_metrics)


def check_metric(config: RunConfig) -> None:
    """Refuses an unknown ``sweep.metric`` before the first job starts.

    Raises:
        ConfigError: It is no headline metric of the task.
    """
    known = _headline_metrics(config)
    if config.sweep.metric and config.sweep.metric not in known:
        raise ConfigError(did_you_mean("sweep.metric", str(config.sweep.metric), known))
