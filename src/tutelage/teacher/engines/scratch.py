"""Private temporary folders that are removed even where their process is killed: by the next one.

A killed process removes nothing. So each folder holds a file that its process keeps locked, and
whoever makes a new folder first removes those that nobody holds any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

_PREFIX = "tutelage-"
_HELD = ".held-by-its-process"
_YOUNG_SECONDS = 60.0
"""A younger folder may not have been locked yet."""


class ScratchFolder:
    """A temporary folder that only the current user can enter.

    Args:
        purpose: Part of its name.

    Attributes:
        path: The folder.
    """

    def __init__(self, purpose: str) -> None:
        _remove_abandoned(Path(tempfile.gettempdir()))
        # mkdtemp gives the folder permissions for the current user alone.
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-"))
        # The lock ends with this process, however it ends.
        self._held = (self.path / _HELD).open("w")
        # Without locks on this file system the folder is never taken for abandoned either.
        with contextlib.suppress(OSError):
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Removes the folder. Removing it twice is allowed."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._held.close()


def _remove_abandoned(parent: Path) -> None:
    """Removes the user's scratch folders whose process has ended."""
    for held in parent.glob(f"{_PREFIX}*/{_HELD}"):
        # Whatever is odd about a folder that others could have made: leave it alone.
        with contextlib.suppress(OSError):
            folder = held.parent.lstat()
            if not stat.S_ISDIR(folder.st_mode) or folder.st_uid != os.getuid():
                continue
            if time.time() - held.lstat().st_mtime < _YOUNG_SECONDS:
                continue
            with held.open("r+") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(held.parent, ignore_errors=True)
