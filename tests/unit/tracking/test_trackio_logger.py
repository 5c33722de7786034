"""Metrics and configuration of a run in the real trackio, in a process and folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_RUNS = """
import json, sys
from pathlib import Path
from tutelage.tracking.trackio_logger import TrackioLogger

folder = Path(sys.argv[1])
for lines in ([(0.5, 8)], [(0.5, 8), (0.75, 16)]):  # the second run was resumed
    logger = TrackioLogger("tutelage-test", str(folder))
    assert (logger.name, logger.version) == ("tutelage-test", folder.name)
    for value, step in lines:
        logger.log_metrics({"dev/accuracy": value, "round": 1}, step)
    logger.finalize("success")

import trackio
from trackio.sqlite_storage import SQLiteStorage

found = [
    {
        "name": run.name,
        "config": run.config,
        "history": SQLiteStorage.get_logs("tutelage-test", run.name, run_id=run.id),
    }
    for run in trackio.Api().runs("tutelage-test")
]
Path(sys.argv[2]).write_text(json.dumps(found, default=str))
"""


def test_each_start_of_a_run_has_its_lines_and_settings(tmp_path: Path) -> None:
    folder, found = tmp_path / "my-run", tmp_path / "found.json"
    folder.mkdir()
    (folder / "config.yaml").write_text(
        "seed: 3\nstudent:\n  learning_rate: 2.0e-05\n  schedule:\n    _target_: a.B\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", _RUNS, str(folder), str(found)],
        env={**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "trackio's messages would garble the run's"
    runs = json.loads(found.read_text())
    assert [run["name"] for run in runs] == ["my-run", "my-run"]
    lines = sorted([[one["dev/accuracy"] for one in run["history"]] for run in runs], key=len)
    assert lines == [[0.5], [0.5, 0.75]]
    assert {one["step"] for run in runs for one in run["history"]} == {8, 16}
    for run in runs:
        assert run["config"]["seed"] == 3
        assert run["config"]["student.learning_rate"] == 2e-5
        assert run["config"]["student.schedule.target_"] == "a.B"


def test_a_run_without_lines_leaves_no_trace(tmp_path: Path) -> None:
    from tutelage.tracking.trackio_logger import TrackioLogger

    logger = TrackioLogger("tutelage-test", str(tmp_path))
    logger.log_hyperparams({"a": 1})
    logger.finalize("failed")
