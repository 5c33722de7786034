"""A Hydra multirun, whatever its sweeper and launcher: the folder, the one teacher, the table of jobs, and the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from tutelage.config.build import task_class
from tutelage.config.compose import conf_directory, typed_config
from tutelage.config.schema import RunConfig
from tutelage.errors import ConfigError, RunError, did_you_mean
from tutelage.launch import as_value, job_overrides, shown
from tutelage.sweep.expected import expected_jobs
from tutelage.sweep.job import do_job
from tutelage.sweep.record import SweepFolder
from tutelage.sweep.session import make_folder, session, tell, tell_end


def multirun(overrides: Sequence[str]) -> int:
    """Do the jobs of a multirun, each in a fresh process; what an earlier time of the sweep has done is not done again.

    Args:
        words: the command line after ``train``; -m may be missing where a sweep is named.

    Returns:
        the exit code: 0 where every job is done, else the largest of a job's.

    Raises:
        TutelageError: nothing could be started.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    flags = [override for override in overrides if override.startswith("-")]
    if unknown := [flag for flag in flags if flag not in ("-m", "--multirun")]:
        raise ConfigError(
            f"A multirun takes overrides and -m, not {unknown[0]}: its jobs are processes of their own, which would not see it."
        )
    expected = expected_jobs([override for override in overrides if override not in flags])
    check_metric(expected.config)
    named = any(override.startswith("hydra.sweep.dir=") for override in overrides)
    folder = make_folder(expected.config.hydra.sweep_dir.resolve(), named=named)
    sweep = SweepFolder(folder)
    metric = expected.config.sweep.metric or _headline_metrics(expected.config)[0]
    console = Console()
    tell(
        console,
        f"sweep {expected.config.sweep.name}: {expected.total or 'some'} jobs in {shown(folder)}",
    )
    own = [*([] if flags else ["-m"]), f"hydra.sweep.dir={as_value(folder)}"]
    if expected.config.hydra.sweeper.endswith("OptunaSweeper") and not any(
        "max_failure_rate" in override for override in overrides
    ):
        own.append("hydra.sweeper.max_failure_rate=1.0")  # a trial that fails ends no other
    sys.argv = ["tutelage", *overrides, *own]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    failure: RunError | None = None
    decorated = hydra.main(
        version_base="1.3", config_path=str(conf_directory()), config_name="config"
    )(job)
    with session(
        expected.config,
        sweep,
        expected.total,
        lambda job: job.title(expected.swept),
        metric,
        console,
    ):
        try:
            decorated()
        except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
            # A job that cannot be composed, a folder that cannot be made, or a search without a single trial that worked.
            failure = RunError(f"The sweep ended early: {' '.join(str(error).split())}")
        except RuntimeError as error:
            # The last trial of a grid failed: Optuna's grid ends the study where Hydra's sweeper does not expect it. Every trial is done.
            if "Study.stop" not in str(error):
                raise
            tell(
                console,
                "The last trial of the grid failed, so Optuna wrote no optimization_results.yaml; the report has every trial.",
            )
    if tell_end(sweep, console)["done"]:
        # Not above: this module is what a launcher's workers import.
        from tutelage.sweep.page import write_sweep_report

        try:
            said = shown(write_sweep_report(folder, expected.config.sweep.metric))
        except (RunError, KeyError) as error:  # arms of two tasks, say, which no number compares
            said = f"not drawn: {error}"
        tell(console, f"report   {said}")
    if failure is not None:
        raise failure
    return max((one.code for one in sweep.jobs()), default=0)


def job(composed: Any) -> float | None:
    """Hydra's task: one job of a multirun, in whatever process the launcher has put it.

    Returns:
        the sweep's metric, for a sweeper that optimises it.

    Raises:
        RunError: the job failed, and the sweeper wants to know.
    """
    from hydra.core.hydra_config import HydraConfig

    hydra_config = HydraConfig.get()
    config = typed_config(composed, hydra_config)
    sweep = SweepFolder(config.hydra.sweep_dir)
    record = do_job(config, sweep, int(hydra_config.job.num), job_overrides())
    if record.score is None and not config.hydra.sweeper.endswith("BasicSweeper"):
        raise RunError(
            f"job {record.number} ({' '.join(record.overrides)}) has no {config.sweep.metric or 'score'}: {record.error}"
        )
    return record.score


def _headline_metrics(config: RunConfig) -> tuple[str, ...]:
    return tuple(metric.key for metric in task_class(config).headline_metrics)


def check_metric(config: RunConfig) -> None:
    """Refuse a metric that no job will have, before the first one starts.

    Raises:
        ConfigError: the task does not quote it.
    """
    known = _headline_metrics(config)
    if config.sweep.metric and config.sweep.metric not in known:
        raise ConfigError(did_you_mean("sweep.metric", str(config.sweep.metric), known))
