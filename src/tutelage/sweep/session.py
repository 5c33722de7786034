"""The frame around the jobs of a sweep: its folder, one teacher, progress and summary."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from tutelage.config.build_teacher import shares_engine
from tutelage.config.schema import RunConfig
from tutelage.errors import RunError
from tutelage.interruption import stoppable
from tutelage.launch import shown
from tutelage.runs.folder import new_folder
from tutelage.sweep.board import Board
from tutelage.sweep.record import JobRecord, SweepFolder

_ON_THIS_MACHINE = ("BasicLauncher", "JoblibLauncher", "LocalLauncher")
"""Launchers whose jobs can reach a socket of this process."""


@contextlib.contextmanager
def session(
    config: RunConfig,
    sweep: SweepFolder,
    total: int | None,
    title: Callable[[JobRecord], str],
    metric: str,
    console: Console,
) -> Iterator[None]:
    """Opens the surroundings of jobs: one teacher, progress, and a clean stop on signals.

    Args:
        config: Configuration of the first job.
        sweep: The folder of the sweep.
        total: As in :class:`~tutelage.sweep.board.Board`.
        title: As in :class:`~tutelage.sweep.board.Board`.
        metric: As in :class:`~tutelage.sweep.board.Board`.
        console: Where to print.
    """
    sweep.expect(total)
    with (
        stoppable(),
        _one_teacher(config, sweep.path),
        Board(sweep, total, title, metric, console),
    ):
        yield


def print_line(console: Console, line: str) -> None:
    """Prints a line without wrapping or markup; paths in it can be copied."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def print_summary(sweep: SweepFolder, console: Console) -> dict[str, int]:
    """Prints and returns the number of jobs by final state."""
    jobs = sweep.jobs()
    count = {
        state: sum(one.state == state for one in jobs) for state in ("done", "failed", "left out")
    }
    before = sum(one.found == "done" for one in jobs)
    print_line(
        console,
        f"{count['done']} done ({before} of them before), {count['failed']} failed, "
        f"{count['left out']} left out   {shown(sweep.path)}",
    )
    if count["failed"]:
        print_line(console, "the same command continues with missing and failed jobs")
    return count


def make_folder(folder: Path, *, named: bool) -> Path:
    """Makes the folder of a sweep.

    Args:
        folder: The wanted path.
        named: The user chose this very folder: it may exist, and old records of jobs are removed.
            Otherwise a folder with a number is made if a sweep of the same second has taken it.

    Returns:
        The path of the folder.

    Raises:
        RunError: It cannot be made.
    """
    try:
        # Hydra does not empty a folder chosen by the user, so old records would count as jobs.
        if named:
            folder.mkdir(parents=True, exist_ok=True)
            for record in (*folder.glob("jobs/*.json"), *folder.glob("jobs/.*.part")):
                record.unlink()
            return folder
        return new_folder(folder)
    except OSError as error:
        raise RunError(
            f"The sweep's folder {folder} cannot be made: {error.strerror}. Start the sweep in a "
            "writable folder, or choose one with hydra.sweep.dir=…."
        ) from error


@contextlib.contextmanager
def _one_teacher(config: RunConfig, folder: Path) -> Iterator[None]:
    """Offers one engine to every job on this machine, loaded at the first request.

    Jobs find its address in their environment.
    """
    from tutelage.teacher.engines.shared import ADDRESS, EngineHost, shared_address

    choice = config.sweep.share_teacher
    near = config.hydra.launcher.rpartition(".")[2] in _ON_THIS_MACHINE
    wanted = near if choice == "auto" else bool(choice)
    if not near and choice is not True and (address := os.environ.pop(ADDRESS, "")):
        # Jobs on other machines inherit the environment, but cannot reach a socket of this one.
        try:
            yield
        finally:
            os.environ[ADDRESS] = address
        return
    # Without an engine of its own, or with one started by `tutelage serve`.
    if not wanted or shared_address() or not shares_engine(config):
        yield
        return
    with EngineHost(folder / "engine.log") as host:
        os.environ[ADDRESS] = host.address
        try:
            yield
        finally:
            del os.environ[ADDRESS]
