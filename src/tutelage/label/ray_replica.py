"""A replica of `tutelage label --engine ray`, on its node: what it checks, does and tells."""

from __future__ import annotations

import os
import platform
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.config.folder import OWN_CONF
from tutelage.config.overrides import quoted
from tutelage.errors import ConfigError, TutelageError
from tutelage.label.command import Job, Part, work
from tutelage.version import __version__

if TYPE_CHECKING:
    from rich.console import Console

LOG = "label.log"
"""Name of a replica's log, beside its transcript."""
_SHARED_SECONDS = 10.0
"""A network file system may show a new file this late."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a replica must find, and take over, on its node.

    Attributes:
        token: Name of a file in the folder, which the command wrote.
        cwd: The command's working folder, which relative paths are within.
        conf: The user's own configuration folder (``--config-dir``); "" for none.
        version: The command's version of tutelage.
        is_here: Whether the cluster is this machine alone.
    """

    token: str
    cwd: str
    conf: str
    version: str
    is_here: bool


@dataclass(frozen=True, slots=True)
class Began:
    """A replica has its resources and begins.

    Attributes:
        node: Name of its machine.
    """

    node: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A replica ended with an error that the user can mend.

    Attributes:
        kind: Class of the error.
        message: What it says.
    """

    kind: type[TutelageError]
    message: str


def replica_of(job: Job, place: Place) -> Iterator[Began | Part | Failed]:
    """A replica, on its node. Yields that it began, and what became of it."""
    yield Began(platform.node())
    try:
        yield work(placed(job, place), _log)
    except TutelageError as error:
        yield Failed(type(error), str(error))


def placed(job: Job, place: Place) -> Job:
    """Finds the folder, the working folder and the cache of this node.

    Raises:
        ConfigError: The node does not see the folder, or has another version of tutelage.
        DataError: The folder of the cache cannot be made.
    """
    node = platform.node()
    if place.version != __version__:
        raise ConfigError(
            f"{node} has tutelage {__version__}, and the command {place.version}. Install the same "
            "version on all nodes."
        )
    deadline = time.monotonic() + _SHARED_SECONDS
    while not (job.to / place.token).exists():
        if time.monotonic() > deadline:
            raise ConfigError(
                f"{node} does not see the folder {job.to} of the command. Give --to on a file "
                "system that all nodes share, at the same path."
            )
        time.sleep(0.5)
    # Without it relative paths are not found, which has messages of its own.
    with suppress(OSError):
        os.chdir(place.cwd)
    if place.conf:
        os.environ[OWN_CONF] = place.conf
    if place.is_here or os.environ.get("TUTELAGE_CACHE") or job.check().cache != "auto":
        return job
    cache = quoted(str(_local_folder() / "replies.sqlite"))
    return replace(job, overrides=(*job.overrides, f"teacher.cache={cache}"))


def _local_folder() -> Path:
    """The user's own folder on this node's disk: SQLite needs locks that network folders lack.

    Raises:
        ConfigError: The folder is somebody else's.
    """
    path = Path(tempfile.gettempdir()) / f"tutelage-cache-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(
            f"{path} on {platform.node()} is not yours, so no replies are kept there. Give "
            "teacher.cache=… on a local disk of the nodes."
        )
    return path


@contextmanager
def _log(own: Path) -> Iterator[Console]:
    """Opens what a replica tells, in its own folder."""
    from rich.console import Console

    path = own / "teacher" / LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", buffering=1) as file:
        yield Console(file=file, width=100)
