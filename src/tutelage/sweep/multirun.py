"""A Hydra multirun, whatever its sweeper and launcher: the folder, the one teacher, the table of jobs, and the end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tutelage.compose import conf_directory, quoted, require_values, words_of_job
from tutelage.errors import ConfigError, RunError, did_you_mean
from tutelage.sweep.board import Board
from tutelage.sweep.expected import expected_jobs
from tutelage.sweep.job import do_job
from tutelage.sweep.page import write_sweep_report
from tutelage.sweep.record import SweepFolder

_ON_THIS_MACHINE = ("BasicLauncher", "JoblibLauncher", "LocalLauncher", "RayLauncher")
"""Launchers whose jobs can reach this process's socket."""


def multirun(words: Sequence[str]) -> int:
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

    expected = expected_jobs([word for word in words if not word.startswith("-")])
    require_values(expected.config)
    _check_metric(expected.config)
    named = any(word.startswith("hydra.sweep.dir=") for word in words)
    folder = _make_folder(Path(str(expected.config.hydra.sweep.dir)).resolve(), named=named)
    sweep = SweepFolder(folder)
    metric = expected.config.sweep.metric or _quoted(expected.config)[0]
    console = Console()
    console.print(
        f"sweep {expected.config.sweep.name}: {expected.total or 'some'} jobs in {_shown(folder)}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    own = [*([] if {"-m", "--multirun"} & set(words) else ["-m"]), f"hydra.sweep.dir={quoted(folder)}"]
    if str(expected.config.hydra.sweeper._target_).endswith("OptunaSweeper") and not any("max_failure_rate" in word for word in words):
        own.append("hydra.sweeper.max_failure_rate=1.0")  # a trial that fails ends no other
    sys.argv = ["tutelage", *words, *own]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    failure: RunError | None = None
    decorated = hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="config")(job)
    with _stoppable(), _one_teacher(expected.config, folder), Board(sweep, expected.total, expected.swept, metric, console):
        try:
            decorated()
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            # A job that cannot be composed, or a search without a single trial that worked.
            failure = RunError(f"The sweep ended early: {' '.join(str(error).split())}")
    jobs = sweep.jobs()
    count = {state: sum(one.state == state for one in jobs) for state in ("done", "failed", "left out")}
    before = sum(one.found == "done" for one in jobs)
    console.print(
        f"{count['done']} done ({before} of them before), {count['failed']} failed, {count['left out']} left out   {_shown(folder)}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    if count["failed"]:
        console.print("the same command goes on with what is missing or failed", highlight=False)
    if count["done"]:
        try:
            said = _shown(write_sweep_report(folder, expected.config.sweep.metric))
        except (RunError, KeyError) as error:  # arms of two tasks, say, which no number compares
            said = f"not drawn: {error}"
        console.print(f"report   {said}", highlight=False, soft_wrap=True, markup=False)
    if failure is not None:
        raise failure
    return max((one.code for one in jobs), default=0)


def job(config: Any) -> float | None:
    """Hydra's task: one job of a multirun, in whatever process the launcher has put it.

    Returns:
        the sweep's metric, for a sweeper that optimises it.

    Raises:
        RunError: the job failed, and the sweeper wants to know.
    """
    from hydra.core.hydra_config import HydraConfig

    hydra_config = HydraConfig.get()
    sweep = SweepFolder(Path(str(hydra_config.sweep.dir)))
    record = do_job(config, sweep, int(hydra_config.job.num), words_of_job())
    if record.score is None and not str(hydra_config.sweeper._target_).endswith("BasicSweeper"):
        raise RunError(f"job {record.number} ({' '.join(record.words)}) has no {config.sweep.metric or 'score'}: {record.error}")
    return record.score


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM end the sweep as Ctrl-C does, in the background too, where a shell has SIGINT ignored."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextlib.contextmanager
def _one_teacher(config: Any, folder: Path) -> Iterator[None]:
    """One engine for every job of this machine, loaded by the first that asks; the jobs find it by their environment."""
    from tutelage.teacher.shared_engine import ADDRESS, EngineHost, shared_address

    choice = str(config.sweep.share_teacher).lower()
    if choice not in ("auto", "true", "false"):
        raise ConfigError(did_you_mean("sweep.share_teacher", choice, ("auto", "true", "false")))
    near = str(config.hydra.launcher._target_).rsplit(".", 1)[-1] in _ON_THIS_MACHINE
    wanted = choice == "true" or (choice == "auto" and near)
    if not near and choice != "true" and (address := os.environ.pop(ADDRESS, "")):
        # Jobs elsewhere inherit the environment and cannot reach a socket of this machine.
        try:
            yield
        finally:
            os.environ[ADDRESS] = address
        return
    if not wanted or shared_address() or not str(config.teacher._target_).endswith("VllmTeacher"):
        yield
        return
    with EngineHost(folder / "engine.log") as host:
        os.environ[ADDRESS] = host.address
        try:
            yield
        finally:
            del os.environ[ADDRESS]


def _make_folder(folder: Path, *, named: bool) -> Path:
    """The sweep's folder; another where a sweep of the same second has it, and the very one that was named, emptied of its jobs' records.

    Raises:
        RunError: it cannot be made.
    """
    try:
        if named:
            folder.mkdir(parents=True, exist_ok=True)
            for record in folder.glob("jobs/*.json"):
                record.unlink()
            return folder
        for number in range(1, 100):
            wanted = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
            with contextlib.suppress(FileExistsError):
                wanted.mkdir(parents=True)
                return wanted
    except OSError as error:
        raise RunError(f"The sweep's folder {folder} cannot be made: {error.strerror}. Give another with hydra.sweep.dir=…") from error
    raise RunError(f"A hundred sweeps have begun in this second under {folder.parent}. Wait a little.")


def _quoted(config: Any) -> tuple[str, ...]:
    from hydra.utils import get_class

    return tuple(metric.key for metric in get_class(str(config.task._target_)).quoted)


def _check_metric(config: Any) -> None:
    """Refuse a metric that no job will have, before the first one starts.

    Raises:
        ConfigError: the task does not quote it.
    """
    known = _quoted(config)
    if config.sweep.metric and config.sweep.metric not in known:
        raise ConfigError(did_you_mean("sweep.metric", str(config.sweep.metric), known))


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
