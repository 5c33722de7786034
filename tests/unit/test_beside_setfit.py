"""The benchmark beside SetFit gives it what the student had, and fits nothing twice."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark, which is no part of the package."""
    import importlib

    before = {*sys.modules}
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("beside_setfit")
    for name in {"beside_setfit", "runs"} - before:
        del sys.modules[name]


def test_setfit_gets_what_the_student_had_and_shots_are_fitted_once(
    benchmark: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = [_run(tmp_path / name, grown=name) for name in ("labels", "pool")]
    fits: list[tuple[Any, ...]] = []

    def fit(encoder: Path, *given: Any) -> dict[str, float]:
        fits.append(given)
        return {"accuracy": 0.5 + 0.1 * len(given[0]), "steps": 1, "seconds": 1.5}

    monkeypatch.setattr(benchmark, "fit", fit)
    _call(benchmark, monkeypatch, tmp_path, *runs)
    first = capsys.readouterr().out
    shots, test = [("a shot", "x"), ("another", "y")], [("a test", "x"), ("its last", "y")]
    assert fits == [
        (shots, test, "all", 7),
        ([*shots, ("labels", "x")], test, "20", 7),
        ([*shots, ("pool", "x")], test, "20", 7),
    ]
    lines = first.splitlines()
    assert " ".join(lines[1].split()) == "labels 2 40.0 70.0 1 1.5 | 3 90.0 80.0 1 1.5"
    assert " ".join(lines[3].split()) == "mean 40.0 70.0 | 90.0 80.0"
    assert lines[4] == "shots: SetFit minus the student:   30.0 ±  nan points, above in 1 of 1"
    assert "rows: SetFit minus the student:  -10.0 ±  0.0 points, above in 0 of 2" in lines
    # A second call fits nothing, another number of pairs fits the rows.
    _call(benchmark, monkeypatch, tmp_path, *runs)
    assert capsys.readouterr().out == first
    assert len(fits) == 3
    _call(benchmark, monkeypatch, tmp_path, *runs, "--pairs", "5")
    assert [given[2] for given in fits[3:]] == ["5", "5"]


def test_a_run_without_a_result_or_on_entities_is_refused(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    run = _run(tmp_path / "ner", grown="", metric="f1")
    with pytest.raises(SystemExit, match="ner is a run on entities"):
        benchmark.read_run(run)
    (run / "result.json").unlink()
    with pytest.raises(SystemExit, match=r"no result\.json: finish the run by resume="):
        benchmark.read_run(run)


def test_pairs_are_all_or_a_number(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        _call(benchmark, monkeypatch, tmp_path, _run(tmp_path / "one", "one"), "--pairs", "-3")


def _run(folder: Path, grown: str, metric: str = "accuracy") -> Path:
    """A run folder with two shots, an accepted and a rejected row, and two test texts."""
    rows = [("a shot", "x", "gold", True), ("another", "y", "gold", True)]
    rows += [(grown, "x", "pool", True), ("rejected", "y", "pool", False)]
    keys = ("text", "target", "source", "accepted")
    test = [("a test", "x"), ("its last", "y")]
    for name, lines in {
        "pool/rows.jsonl": [dict(zip(keys, row, strict=True)) for row in rows],
        "predictions/test-after.jsonl": [{"text": one, "target": two} for one, two in test],
    }.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = {"seed": 7, "before": {metric: 0.4}, "after": {metric: 0.9}}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def _call(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, *given: Path | str
) -> None:
    """Calls the benchmark with runs, and with options behind them."""
    (folder / "encoder").mkdir(exist_ok=True)
    (folder / "encoder" / "modules.json").touch()
    command = ["it", "--encoder", str(folder / "encoder"), "--folder", str(folder / "fits")]
    monkeypatch.setattr(sys, "argv", [*command, "--runs", *map(str, given)])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    benchmark.main()
