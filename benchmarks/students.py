"""Question: what does each student cost, and what does it give for it?

    python benchmarks/students.py [RUN…] [--students fitted_classification static_classification]
        [--seeds 1] [--folder FOLDER] [--given method=shots shots=5]

Compares finished runs (their folders), and runs trained here: one per student of ``conf/student``
and seed, with the overrides of ``--given``, unless FOLDER has them already. Printed per run: the
headline metric on test, seconds of training per stage (the first rows, each round and the final
stage count alike), and for the student in torch and its export to ONNX with weights of 8 bits the
metric on dev, megabytes of weights, and the median milliseconds to label one text and 32, from raw
texts, on one thread. The exports need the extra ``export``; none is kept. On a busy machine compare
times within one call only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runs import read_lines, train

from tutelage.export import Measured, export


@dataclass(frozen=True)
class Line:
    """A row of the printed table."""

    name: str
    test: float
    seconds: float
    student: Measured
    int8: Measured


def measured(run: Path, name: str) -> Line:
    """Measures the student of a finished run.

    Args:
        run: The folder of the run.
        name: What to call it in the table.
    """
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    stages = [line.get("seconds", {}) for line in read_lines(run / "metrics.jsonl")]
    training = [float(stage["training"]) for stage in stages if "training" in stage]
    with tempfile.TemporaryDirectory() as scratch:
        found, _ = export(run, "onnx-int8", Path(scratch) / "int8")
    return Line(
        name,
        float(next(iter(result["after"].values()))),
        statistics.mean(training) if training else float("nan"),
        found.student,
        found.export,
    )


def printed(lines: Sequence[Line]) -> list[str]:
    """The table, one row per run."""
    width = max(len(line.name) for line in lines)
    titles = [f"{'':{width}}", "  test %", "s/stage"]
    for kind in ("torch", "int8"):
        titles += [f"{kind} dev %", "      MB", " ms for 1", "ms for 32"]
    rows = [" ".join(titles)]
    for line in lines:
        cells = [f"{line.name:{width}}", f"{100 * line.test:8.1f}", f"{line.seconds:7.1f}"]
        for kind, one in (("torch", line.student), ("int8", line.int8)):
            cells += [
                f"{100 * one.score:{len(kind) + 6}.1f}",
                f"{one.size_mb:8.1f}",
                f"{one.latency_ms['1']:9.2f}",
                f"{one.latency_ms['32']:9.2f}",
            ]
        rows.append(" ".join(cells))
    return rows


def main() -> None:
    """Trains the runs that are missing, measures all of them, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--students", nargs="*", default=[])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--folder", type=Path, default=Path("outputs/benchmark_students"))
    parser.add_argument("--given", nargs="*", default=["method=shots", "shots=5"])
    options = parser.parse_args()
    found = [(run, str(Path(*run.resolve().parts[-2:]))) for run in options.runs]
    for student in options.students:
        for seed in options.seeds:
            name = f"{student}-{seed}"
            folder = (options.folder / name).resolve()
            train(folder, [*options.given, f"student={student}", f"seed={seed}"], quiet=True)
            found.append((folder, name))
    if not found:
        parser.error("give folders of runs, or --students")
    for row in printed([measured(run, name) for run, name in found]):
        print(row)


if __name__ == "__main__":
    main()
