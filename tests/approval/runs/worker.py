"""The process that the runs are in: one or more cases, each a command line of its own.

    python worker.py FOLDER record|replay RECORDINGS CASE…

Start it through :mod:`replay` or :mod:`record`, which set the environment that pins the numerics.
Each case's run lies in ``FOLDER/<case>`` afterwards.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cases import CASES, FOLDER, RECORD, REPLAY, SWEEP_FOLDER, Case
from students import HERE, make_student


def arguments_of(case: Case, folder: Path, mode: str, recordings: Path, models: Path) -> list[str]:
    """The arguments of a case's command line after ``tutelage``."""
    places = {
        "folder": str(folder),
        "recording": str(recordings / case.recording),
        "data": str(HERE / "data"),
        "student": str(models / "student"),
        "tagger": str(models / "tagger"),
    }
    own = SWEEP_FOLDER if case.sweep else FOLDER
    teacher = RECORD if mode == "record" else REPLAY
    # A setting that the sweep varies has its values there alone.
    swept = {word.split("=")[0] for word in case.sweep}
    overrides = [word for word in case.overrides if word.split("=")[0] not in swept]
    filled = [word.format(**places) for word in (*overrides, *teacher, own)]
    return ["train", *case.sweep, *filled]


def without_reports() -> None:
    """Draw no figures at the end of a run in this process: they take longer than the run."""
    import tutelage.report.html

    def undrawn(folder: Path) -> Path:
        page = folder / "report.html"
        page.write_text("not drawn\n", encoding="utf-8")
        return page

    tutelage.report.html.write_report = undrawn


def main(arguments: Sequence[str]) -> int:
    """Do the cases one after the other; the exit code of the first that fails, or 0."""
    from tutelage.cli import main as tutelage

    folder, mode, recordings, *names = arguments
    models = Path(folder) / "models"
    for kind in ("student", "tagger"):
        if not (models / kind).exists():
            make_student(models / kind, HERE / f"{kind}_words.txt")
    without_reports()
    for case in (case for case in CASES if case.name in names):
        began = time.perf_counter()
        try:
            tutelage(arguments_of(case, Path(folder) / case.name, mode, Path(recordings), models))
        except SystemExit as ended:
            if ended.code:
                print(f"{case.name}: exit code {ended.code}", file=sys.stderr)
                return int(ended.code)
        print(f"{case.name}: {time.perf_counter() - began:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
