"""Record the real vLLM engine anew for every case, or for those named; then approve what comes out.

    python record.py [CASE…] && python replay.py --approve

One engine answers all cases: ``tutelage serve`` keeps it loaded. Needs the embedded models
(``make setup``) and two minutes or three. A recording that a named case shares with others is
made by all of them, so name them all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cases import CASES
from replay import RECORDINGS, run_cases


def record(names: Sequence[str]) -> None:
    """Write the recordings of ``names`` into a new folder, then put them in the old ones' place."""
    cases = [case for case in CASES if case.name in names]
    with tempfile.TemporaryDirectory() as temporary:
        new = Path(temporary) / "recordings"
        new.mkdir()
        # The engine computes as it always does; only the student's process is pinned.
        serve = [sys.executable, "-m", "tutelage.cli", "serve"]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as host:
            try:
                assert host.stdout is not None
                said = host.stdout.readline().strip().removeprefix("export ")
                name, _, address = said.partition("=")
                os.environ[name] = address
                run_cases(Path(temporary), [case.name for case in cases], "record", new)
            finally:
                host.terminate()
        RECORDINGS.mkdir(exist_ok=True)
        for path in new.iterdir():
            shutil.copyfile(path, RECORDINGS / path.name)


if __name__ == "__main__":
    record(sys.argv[1:] or [case.name for case in CASES])
