"""scripts/gpu_check.sh composes where there is no GPU, and says which step failed."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STEPS = ["demo", "demo_ner", "asleep", "bfloat16", "student_on_cpu"]


def checked(folder: Path, script: Path) -> tuple[int, dict[str, str]]:
    """Exit status of the script, and that of each step."""
    ended = subprocess.run(
        ["bash", str(script), str(folder)],
        env={**os.environ, "DRY": "1", "BIN": str(Path(sys.executable).parent)},
        capture_output=True,
        check=False,
    )
    with (folder / "summary.tsv").open(encoding="utf-8") as file:
        return ended.returncode, {
            line["step"]: line["status"] for line in csv.DictReader(file, delimiter="\t")
        }


def test_each_step_composes(tmp_path: Path) -> None:
    code, found = checked(tmp_path, ROOT / "scripts/gpu_check.sh")
    assert (code, found) == (0, dict.fromkeys(STEPS, "0"))
    assert "lifecycle: sleep" in (tmp_path / "asleep.log").read_text(encoding="utf-8")


def test_a_step_that_fails_stops_no_other(tmp_path: Path) -> None:
    """With a setting that does not exist in one step."""
    script = (ROOT / "scripts/gpu_check.sh").read_text(encoding="utf-8")
    wrong = script.replace("teacher.dtype=bfloat16", "teacher.no_such_setting=1")
    assert wrong != script
    # The script goes to the folder above its own.
    path = tmp_path / "scripts" / "gpu_check.sh"
    path.parent.mkdir()
    path.write_text(wrong, encoding="utf-8")
    code, found = checked(tmp_path / "out", path)
    assert code == 1
    assert [name for name, status in found.items() if status != "0"] == ["bfloat16"]
