"""The benchmark of students measures a run once, and prints what it cost."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tutelage.export import Measured

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark, which is no part of the package."""
    import importlib

    before = {*sys.modules}
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("students")
    for name in {"students", "runs"} - before:
        del sys.modules[name]


def write_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"after": {"accuracy": 0.925, "macro_f1": 0.9}}))
    stages = [{"seconds": {"training": 2.0}}, {"seconds": {"training": 4.0}}, {"round": 2}]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in stages))
    return folder


def test_runs_given_and_runs_trained_are_in_one_table(
    benchmark: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = write_run(tmp_path / "mine" / "first")
    trained: list[list[str]] = []

    def train(folder: Path, overrides: list[str], quiet: bool) -> None:
        trained.append(overrides)
        write_run(folder)

    def export(run: Path, format: str, to: Path) -> Any:
        student = Measured(0.9, {"1": 10.0, "32": 100.0}, 90.0)
        int8 = Measured(0.89, {"1": 4.0, "32": 50.0}, 23.0)
        return SimpleNamespace(student=student, export=int8), to

    monkeypatch.setattr(benchmark, "train", train)
    monkeypatch.setattr(benchmark, "export", export)
    given = ["--students", "a", "--seeds", "1", "2", "--given", "shots=1", "method=shots"]
    folder = ["--folder", str(tmp_path / "trained")]
    monkeypatch.setattr(sys, "argv", ["students.py", str(run), *given, *folder])
    benchmark.main()
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    numbers = "92.5 3.0 90.0 90.0 10.00 100.00 89.0 23.0 4.00 50.00"
    assert rows[1:] == [f"{name} {numbers}" for name in ("mine/first", "a-1", "a-2")]
    assert trained == [["shots=1", "method=shots", "student=a", f"seed={seed}"] for seed in (1, 2)]


def test_nothing_to_compare_is_an_error(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["students.py"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "give folders of runs, or --students" in capsys.readouterr().err
