"""Checks configurations in a process of its own, for a sweep's process that imports no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError, RunError


def check_apart(runs: Sequence[Sequence[str]]) -> None:
    """Checks each run's settings against the targets that they are for.

    The targets import torch and Lightning: some 600 MB, which are free again afterwards.

    Args:
        runs: overrides of each run.

    Raises:
        ConfigError: an unknown, missing or wrong setting of one of them.
        RunError: the process failed otherwise.
    """
    if not runs:
        return
    ended = subprocess.run(
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps([list(overrides) for overrides in runs]),
        capture_output=True,
        text=True,
        check=False,
    )
    last = ended.stderr.strip().rpartition("\n")[2]
    if ended.returncode == ConfigError.exit_code:
        raise ConfigError(last)
    if ended.returncode:
        raise RunError(
            f"The configuration could not be checked (exit code {ended.returncode}): {last}"
        )


def main() -> int:
    """Composes the runs on standard input; the last line of standard error says what is wrong."""
    try:
        for overrides in json.load(sys.stdin):
            compose_config(overrides)
    except ConfigError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
