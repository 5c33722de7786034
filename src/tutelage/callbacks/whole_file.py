"""Large files that a kill or a full disk must not leave half written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tutelage.errors import RunError


def write_whole(target: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make ``target``, which is there whole or not at all.

    Raises:
        RunError: the disk did not take it.
    """
    scratch = target.with_suffix(".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(scratch)
        scratch.replace(target)
    except (OSError, RuntimeError) as error:
        scratch.unlink(missing_ok=True)
        raise RunError(f"{target} could not be written: {error}. Free some space and go on with resume=true.") from error
