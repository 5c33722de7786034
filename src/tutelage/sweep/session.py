"""What stands around the jobs of a sweep: its folder, the one teacher, the table of jobs, and what is said at the end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from tutelage.config.build import shares_engine
from tutelage.config.schema import RunConfig
from tutelage.errors import RunError
from tutelage.launch import shown
from tutelage.sweep.board import Board
from tutelage.sweep.record import JobRecord, SweepFolder

_ON_THIS_MACHINE = ("BasicLauncher", "JoblibLauncher", "LocalLauncher")
"""Launchers whose jobs can reach this process's socket."""


@contextlib.contextmanager
def session(
    config: RunConfig,
    sweep: SweepFolder,
    total: int | None,
    title: Callable[[JobRecord], str],
    metric: str,
    console: Console,
) -> Iterator[None]:
    """Everything that jobs need around them, for as long as they are done.

    Args:
        config: the first job's configuration, composed with Hydra's own node.
        total, title, metric: as :class:`~tutelage.sweep.board.Board` takes them.
    """
    sweep.expect(total)
    with (
        _stoppable(),
        _one_teacher(config, sweep.path),
        Board(sweep, total, title, metric, console),
    ):
        yield


def tell(console: Console, line: str) -> None:
    """Print a line as it is, however long: paths in it can be copied."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def tell_end(sweep: SweepFolder, console: Console) -> dict[str, int]:
    """Say how many jobs came to what, and return it."""
    jobs = sweep.jobs()
    count = {
        state: sum(one.state == state for one in jobs) for state in ("done", "failed", "left out")
    }
    before = sum(one.found == "done" for one in jobs)
    tell(
        console,
        f"{count['done']} done ({before} of them before), {count['failed']} failed, {count['left out']} left out   {shown(sweep.path)}",
    )
    if count["failed"]:
        tell(console, "the same command goes on with what is missing or failed")
    return count


def make_folder(folder: Path, *, named: bool) -> Path:
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
        raise RunError(
            f"The sweep's folder {folder} cannot be made: {error.strerror}. Start it from a folder that takes one; a multirun takes hydra.sweep.dir=…, too."
        ) from error
    raise RunError(
        f"A hundred sweeps have begun in this second under {folder.parent}. Wait a little."
    )


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM end the sweep as Ctrl-C does, in the background too, where a shell has SIGINT ignored."""
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextlib.contextmanager
def _one_teacher(config: RunConfig, folder: Path) -> Iterator[None]:
    """One engine for every job of this machine, loaded by the first that asks; the jobs find it by their environment."""
    from tutelage.teacher.engines.shared import ADDRESS, EngineHost, shared_address

    choice = config.sweep.share_teacher
    near = config.hydra.launcher.rpartition(".")[2] in _ON_THIS_MACHINE
    wanted = near if choice == "auto" else bool(choice)
    if not near and choice is not True and (address := os.environ.pop(ADDRESS, "")):
        # Jobs elsewhere inherit the environment and cannot reach a socket of this machine.
        try:
            yield
        finally:
            os.environ[ADDRESS] = address
        return
    if not wanted or shared_address() or not shares_engine(config):
        yield
        return
    with EngineHost(folder / "engine.log") as host:
        os.environ[ADDRESS] = host.address
        try:
            yield
        finally:
            del os.environ[ADDRESS]
