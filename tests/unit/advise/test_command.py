"""Advice on data, teacher and budget, as a user reads it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from tests.helpers.tiny import scripted, write_jsonl

from tutelage.advise.case import _size
from tutelage.advise.command import advise
from tutelage.advise.price import _pool_labels
from tutelage.cli import main
from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError, DataError, TeacherError
from tutelage.measurements import Situation, choose, measurements

WORDS = ("playlist", "restaurant", "weather", "music", "rating", "search", "cinema")
CLASSES = f"data.labels={{{','.join(f'{word}:null' for word in WORDS)}}}"
"""The classes of data without labels."""


@pytest.fixture
def overrides(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    return scripted(tmp_path / "no-student", small_data, tmp_path / "replies.sqlite")


@pytest.fixture
def pool(small_data: Path, tmp_path: Path) -> Path:
    """The small data with a pool of 120 raw texts."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in ("validation", "test"):
        (folder / f"{name}.jsonl").write_text((small_data / f"{name}.jsonl").read_text())
    texts = [{"text": f"book a table number {n} for tonight"} for n in range(120)]
    write_jsonl(folder / "train.jsonl", [dict(one) for one in texts])
    return folder


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The output in one line, without the indents."""
    return " ".join(capsys.readouterr().out.split())


def command(text: str) -> list[str]:
    """The overrides of the advised command."""
    words = shlex.split(text.partition("run it")[2])
    assert words[:2] == ["tutelage", "train"]
    return words[2:]


def test_advice_says_what_why_how_much_and_what_to_expect(
    overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert advise(overrides) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.partition("run it")[0].splitlines())) <= 80
    text = " ".join(printed.split())
    assert "data files: 7 classes, 1 shot per class, 84 pool texts, 28 dev, 42 test" in text
    assert "84 pool texts have labels" in text
    # 84 texts are too few to count as a pool.
    assert "advice EvoKD." in text
    assert "level with static generation: +0.6" in text
    assert re.search(r"SNIPS 7 67\.0 86\.6 83\.9 98\.8 192,000", text)
    tokens = re.search(r"about ([\d,]+) billed tokens", text)
    assert tokens
    assert int(tokens[1].replace(",", "")) > 1000
    # The advised command composes, and is the measured recipe.
    config = compose_config(command(printed))
    assert config.method_name == "evokd"


def test_raw_text_without_labels_is_labelled_by_the_teacher(
    overrides: list[str], pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [
        *(one for one in overrides if not one.startswith("data.path")),
        f"data.path={pool}",
        CLASSES,
    ]
    assert advise(own) == 0
    text = told(capsys)
    assert "0 shots per class, 120 pool texts" in text
    assert "advice LLKD." in text
    assert "120 labels at about" in text
    assert "0 shots instead of 2" in text
    assert "shots=0" in command(text)
    # A budget leaves out what it does not cover.
    assert advise([*own, "budget.tokens=200"]) == 0
    assert "budget.tokens=200 covers no recipe that was measured" in told(capsys)


def test_without_labels_and_pool_no_measurement_is_claimed(
    overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert advise([*overrides, "shots=0"]) == 0
    text = told(capsys)
    assert "No measurement covers classes without shots and without a pool" in text
    assert "expect" not in text
    assert command(text)[-1] == "method=zerogen"


def test_the_price_of_a_pool_is_that_of_its_labels(
    overrides: list[str], pool: Path, small_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(
        pool / "shots.jsonl",
        [json.loads(line) for line in (small_data / "train.jsonl").read_text().splitlines()],
    )
    own = [one for one in overrides if not one.startswith("data.path")]
    assert advise([*own, f"data.path={pool}"]) == 0
    text = told(capsys)
    found = re.search(r"(\d+) labels at about (\d+) tokens: ([\d,]+)", text)
    assert found
    labels, each, total = (int(one.replace(",", "")) for one in found.groups())
    assert labels == 120
    assert total == pytest.approx(labels * each, abs=labels)
    # Half of that pays for no pool, so the shots alone are left.
    assert advise([*own, f"data.path={pool}", f"budget.tokens={total // 2}"]) == 0
    text = told(capsys)
    assert "LLKD takes more than your budget" in text
    assert "advice The shots alone." in text


def test_texts_of_a_run_that_labels_on_demand() -> None:
    assert _pool_labels(compose_config(["method=llkd_on_demand"]), 2000) == (100, 300)
    assert _pool_labels(compose_config(["method=llkd_on_demand"]), 130) == (100, 130)
    assert _pool_labels(compose_config(["method=llkd", "method.pool_size=1000"]), 2000) == (
        1000,
        1000,
    )


def test_uneven_classes_are_told(
    overrides: list[str], small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "uneven"
    folder.mkdir()
    for name in ("train", "validation", "test"):
        rows = [json.loads(x) for x in (small_data / f"{name}.jsonl").read_text().splitlines()]
        rare = {row["label"]: row for row in rows}.values() if name == "validation" else rows
        music = [row for row in rows if row["label"] == "music"]
        more = [{**row, "text": f"{row['text']} {n}"} for n in range(9) for row in music]
        write_jsonl(folder / f"{name}.jsonl", [*rare, *more])
    own = [one for one in overrides if not one.startswith("data.path")]
    assert advise([*own, f"data.path={folder}"]) == 0
    assert "give calibration.prior={NAME: SHARE}" in told(capsys)


@pytest.mark.parametrize(
    ("model", "millions"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", 7000),
        ("qwen2.5-coder-0.5b-wikigold.jsonl", 500),
        ("SmolLM2-135M", 135),
        ("gpt-4o", 0),
        ("", 0),
    ],
)
def test_the_size_of_a_teacher_by_its_name(model: str, millions: float) -> None:
    assert _size(model) == millions


def test_a_teacher_that_cannot_be_asked_gets_advice_and_its_error(
    overrides: list[str], pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [one for one in overrides if not one.startswith(("teacher", "data.path"))]
    with pytest.raises(TeacherError, match="there is no such folder"):
        advise(
            [*own, f"data.path={pool}", CLASSES, "teacher=local", f"teacher.model={tmp_path}/none"]
        )
    text = told(capsys)
    assert "cannot be asked (the reason is below)" in text
    assert "yours cannot be counted" in text
    # Nobody knows its size, so the largest teacher that was measured decides.
    assert "advice 1,000 labels, and those that class names confirm." in text


def test_without_a_pool_the_names_of_the_classes_cost_nothing(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [one for one in overrides if not one.startswith("teacher")]
    with pytest.raises(TeacherError, match="there is no such folder"):
        advise([*own, "teacher=local", f"teacher.model={tmp_path}/none"])
    text = told(capsys)
    assert "advice The shots and the names of the classes." in text
    assert "cost no token." in text


def test_wrong_requests_are_refused(overrides: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave method=… out"):
        advise([*overrides, "method=llkd"])
    with pytest.raises(ConfigError, match="Unknown data 'nothing'"):
        advise(["data=nothing"])
    with pytest.raises(DataError, match=r"There is no folder .*none"):
        advise(["data=files", f"data.path={tmp_path}/none"])


def test_the_verb_on_the_command_line(
    overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["advise", *overrides])
    assert ended.value.code == 0
    best = choose(measurements(), Situation("classification", 1, 0, 28, 1.0)).recipe
    assert best is not None
    assert f"advice {best.title}." in told(capsys)
    with pytest.raises(SystemExit) as ended:
        main(["advise", "method=llkd"])
    assert ended.value.code == ConfigError.exit_code
