"""The examples run, and the notebook is that of its source."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.helpers import tiny

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_evokd_in_one_file_learns_in_seconds_without_tutelage():
    source = (EXAMPLES / "evokd_in_one_file.py").read_text(encoding="utf-8")
    assert "import tutelage" not in source
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / "evokd_in_one_file.py")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert ended.stderr == ""
    scores = [float(found) for found in re.findall(r"test (\d\.\d+)", ended.stdout)]
    assert len(scores) == 8
    assert scores[0] < 0.5
    assert scores[-1] > 0.9


def test_the_notebook_is_that_of_its_source():
    made = load("make_notebook").notebook((EXAMPLES / "quickstart.py").read_text(encoding="utf-8"))
    there = (EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8")
    assert there == made, "run: python examples/make_notebook.py"


def test_a_notebook_has_cells_of_text_and_of_code():
    source = '"""Not a cell."""\n\n# %% [markdown]\n# # Title\n#\n# words\n\n# %%\na = 1\n\nb = 2\n'
    cells = json.loads(load("make_notebook").notebook(source))["cells"]
    assert [cell["cell_type"] for cell in cells] == ["markdown", "code"]
    assert "".join(cells[0]["source"]) == "# Title\n\nwords"
    assert "".join(cells[1]["source"]) == "a = 1\n\nb = 2"


@pytest.fixture
def small_runs(
    student: Path,
    small_data: Path,
    workplace: Path,
    no_report: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`tutelage.train` does a tiny run, whatever its size should be."""
    import tutelage

    small = [
        *tiny.scripted(student, small_data, workplace / "replies.sqlite"),
        *("method.rounds=1", "method.n_hard=7", "method.n_easy=7"),
        *("training.start_epochs=2", "training.final_epochs=1"),
    ]
    train = tutelage.train
    ignored = tuple(f"{one.partition('=')[0]}=" for one in small)

    def train_small(*overrides: str, **values: Any) -> Any:
        return train(*(one for one in overrides if not one.startswith(ignored)), *small, **values)

    monkeypatch.setattr(tutelage, "train", train_small)


@pytest.mark.usefixtures("small_runs")
def test_the_quickstart_runs(capsys: pytest.CaptureFixture[str]):
    source = (EXAMPLES / "quickstart.py").read_text(encoding="utf-8")
    exec(compile(source, "quickstart.py", "exec"), {})
    printed = capsys.readouterr().out
    assert "'accuracy'" in printed
    assert "result.json" in printed


@pytest.mark.usefixtures("small_runs")
@pytest.mark.parametrize("page", ["README.md", "docs/reference/python-api.md"])
def test_the_python_of_a_page_runs(page: str):
    text = (EXAMPLES.parent / page).read_text(encoding="utf-8")
    (source,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)
    exec(compile(source, page, "exec"), {})
