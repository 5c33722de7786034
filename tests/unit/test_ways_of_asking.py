"""The benchmark of ways of asking measures every cell once, and prints it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.helpers.tiny import scripted

from tutelage.tune_prompt import CALIBRATIONS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark, which is no part of the package."""
    import importlib

    before = {*sys.modules}
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("ways_of_asking")
    for name in {"ways_of_asking", "data_sets", "runs"} - before:
        del sys.modules[name]


def test_a_cell_is_measured_once_under_every_calibration(
    benchmark: ModuleType,
    small_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, teacher = _split(scripted(tmp_path / "no-student", small_data, tmp_path / "none"))
    cells = [
        benchmark.Cell("scripted", "snips", "text", way, shots, 14)
        for way in ("completion", "chat")
        for shots in (0, 1)
    ]
    folder = tmp_path / "out"
    benchmark.measure(cells[:3], teacher, lambda _: data, folder)
    benchmark.measure(cells, teacher, lambda _: data, folder)
    lines = (folder / "cells.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["cell"] for line in lines] == [[*cell] for cell in cells]
    found = benchmark.read(folder)
    for one in found:
        assert {*one.scores} == {*one.errors} == {*CALIBRATIONS}
        assert 0.5 < one.scores["none"] <= 1
        assert one.failed == 0
    # Demonstrations cost tokens.
    assert found[0].tokens < found[1].tokens
    table = [*benchmark.by_set(found[::2], ("snips", "trec6"), errors=True)]
    assert table[0] == "| | tokens a text, mean of 1 | snips |"
    assert [row.split(" | ")[0] for row in table[2:]] == [
        "| scripted, chat",
        "| scripted, completion",
    ]
    assert f"{found[0].tokens:.0f} | {benchmark._percent(found[0].scores)} ± " in table[3]
    assert "tokens" in capsys.readouterr().out


def test_a_mean_needs_all_six_sets(benchmark: ModuleType) -> None:
    scores = dict.fromkeys(CALIBRATIONS, 0.5)
    errors = dict.fromkeys(scores, 0.06)
    found = [
        benchmark.Measured(
            benchmark.Cell("one", dataset, "text", "chat", 1, 60), scores, errors, 100, 0, 1
        )
        for dataset in benchmark.CLASSES
    ]
    # The standard error of a mean of six: 0.06 / √6.
    assert [*benchmark.means(found)][2] == "| one | 1 |  | | 50 ± 2 | 100 |"
    assert len([*benchmark.means(found[1:])]) == 2


def _split(overrides: list[str]) -> tuple[list[str], list[str]]:
    """The overrides of the data, and the others without the cache."""
    data = [one for one in overrides if one.startswith("data")]
    others = [one for one in overrides if one not in data and "teacher.cache" not in one]
    return data, others
