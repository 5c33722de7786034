"""Run the approved cases from their recordings and compare them with approved.json.

    python replay.py                 compare, and print what differs; exit code 1 if anything does
    python replay.py evokd llm_da    these cases only
    python replay.py --approve       write what came out to approved.json

The runs are in a process of their own, whose environment pins how the libraries compute
(``cases.PINS``). No model is loaded: a request that is not in the recordings ends the replay.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from cases import CASES, PINS, Case  # noqa: E402

RECORDINGS = HERE / "recordings"
APPROVED = HERE / "approved.json"
TOLERANCE = 1e-6
PLACES = 6


def run_cases(folder: Path, names: Sequence[str], mode: str, recordings: Path) -> None:
    """Do the cases in a pinned process; each one's run lies in ``folder/<case>`` afterwards.

    Raises:
        RuntimeError: a case failed; the message ends with what the process said last.
    """
    command = [sys.executable, str(HERE / "worker.py"), str(folder), mode, str(recordings), *names]
    environment = {**os.environ, **PINS}
    if mode == "replay":
        environment["TUTELAGE_CACHE"] = str(folder / "cache")
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    (folder / f"{mode}.log").write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}\n{done.stdout[-4000:]}")


def outcome_of(case: Case, folder: Path) -> dict[str, Any]:
    """What is approved of a case's run; of a sweep, of each job in order and of each arm's mean."""
    if not case.sweep:
        return _run_outcome(folder)
    jobs = [json.loads(path.read_text("utf-8")) for path in folder.glob("jobs/*.json")]
    jobs.sort(key=lambda job: int(job["number"]))
    runs = [_run_outcome(folder / job["folder"]) for job in jobs]
    return {"jobs": runs, "means": _means([job["overrides"] for job in jobs], runs)}


def _run_outcome(folder: Path) -> dict[str, Any]:
    """Pool hash, numbers, tokens, rows and mistakes of one run."""
    result = json.loads((folder / "result.json").read_text("utf-8"))
    keys = [metric["key"] for metric in result["metrics"]]
    feedback = sorted(folder.glob("feedback/round-*.jsonl"))
    return {
        "pool_hash": result["pool_hash"],
        "rows": result["rows"],
        "rounds": result["rounds"],
        "stopped_by": result["stopped_by"],
        "billed_tokens": result["tokens"]["billed"],
        "spent_tokens": result["tokens"]["spent"],
        "requests": result["requests"]["all"],
        "rows_learnt_from": result["share_of_data"]["unique_rows"],
        "rows_passed": result["share_of_data"]["passed"],
        "mistakes": {path.stem: len(_lines(path)) for path in feedback},
        "before": _rounded(result["before"], keys),
        "after": _rounded(result["after"], keys),
        "dev": [round(line["dev"][keys[0]], PLACES) for line in _lines(folder / "metrics.jsonl")],
        "teacher": _rounded(result["teacher"], keys) if result["teacher"] else None,
    }


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _rounded(values: dict[str, Any], keys: Iterable[str]) -> dict[str, float]:
    return {key: round(values[key], PLACES) for key in keys}


def _means(
    overrides: Sequence[Sequence[str]], runs: Sequence[dict[str, Any]]
) -> list[dict[str, float]]:
    """The mean over the seeds of each arm, in the order in which the arms came."""
    arms: dict[tuple[str, ...], list[dict[str, float]]] = {}
    for given, run in zip(overrides, runs, strict=True):
        arm = tuple(one for one in given if not one.startswith("seed="))
        arms.setdefault(arm, []).append(run["after"])
    return [
        {key: round(sum(run[key] for run in after) / len(after), PLACES) for key in after[0]}
        for after in arms.values()
    ]


def differences(approved: Any, found: Any, place: str = "") -> list[str]:
    """One line for each value that is not as approved.

    Numbers with a point may be off by 1e-6. The overrides are there to be read, not compared: they
    may get new names.
    """
    if isinstance(approved, dict) and isinstance(found, dict):
        keys = [*approved, *(key for key in found if key not in approved)]
        return [
            line
            for key in keys
            if key != "overrides"
            for line in differences(approved.get(key), found.get(key), f"{place}/{key}")
        ]
    if isinstance(approved, list) and isinstance(found, list) and len(approved) == len(found):
        pairs = enumerate(zip(approved, found, strict=True))
        return [line for number, (a, b) in pairs for line in differences(a, b, f"{place}/{number}")]
    if isinstance(approved, float) and isinstance(found, int | float):
        if math.isclose(approved, found, rel_tol=0.0, abs_tol=TOLERANCE):
            return []
    elif approved == found:
        return []
    return [f"{place.removeprefix('/')}: approved {approved!r}, found {found!r}"]


def replay(folder: Path, names: Sequence[str], recordings: Path = RECORDINGS) -> dict[str, Any]:
    """Replay cases in ``folder``; what came out, by name."""
    run_cases(folder, names, "replay", recordings)
    return {
        case.name: {
            "overrides": [*case.overrides, *case.sweep],
            "recording": case.recording,
            **outcome_of(case, folder / case.name),
        }
        for case in CASES
        if case.name in names
    }


def approved() -> dict[str, Any]:
    """What approved.json holds, by case."""
    found: dict[str, Any] = json.loads(APPROVED.read_text("utf-8"))
    return found


def main() -> int:
    """Replay, then compare or approve."""
    every = [case.name for case in CASES]
    parser = argparse.ArgumentParser(description="Replay the approved runs.")
    parser.add_argument("cases", nargs="*", choices=[[], *every], help="all of them by default")
    parser.add_argument("--approve", action="store_true", help="write approved.json anew")
    parser.add_argument("--keep", type=Path, help="a new folder that the runs are left in")
    options = parser.parse_args()
    names = options.cases or every
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        found = replay(folder, names)
    if options.approve:
        known = approved() if APPROVED.is_file() else {}
        merged = {name: {**known, **found}[name] for name in every if name in {**known, **found}}
        APPROVED.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")
        print(f"approved: {', '.join(found)}")
        return 0
    lines = differences({name: approved().get(name) for name in names}, found)
    print("\n".join(lines) or f"{len(found)} cases as approved")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
