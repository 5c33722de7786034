"""`tutelage guarantee` and `predict --abstain` on a finished run of each task."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.documented import missing_and_unknown
from tests.helpers.pages import Page
from tests.helpers.tasks import TaskSetup
from tests.helpers.tiny import grow, lines

from tutelage.runs.read import read_run

EASY = ("--accuracy", "0.05", "--risk", "0.6")
"""Targets that a tiny student meets."""


@pytest.fixture(scope="module")
def labelled(kind: TaskSetup, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a pool that the teacher has labelled, with the teacher alone on test."""
    folder = tmp_path_factory.mktemp("labelled") / "run"
    settings = ["method=full_pool", "training.start_epochs=8", "evaluate.teacher=true"]
    grow(folder, [*kind.base(), *settings])
    return folder


@pytest.fixture
def copied(labelled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(labelled, tmp_path / "run"))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def set_threshold(run: Path, file: Path) -> float:
    """Lays the threshold between the predictions, so that some are kept and some are not."""
    record = read(run / "guarantee.json")
    record["threshold"] = 0.0
    (run / "guarantee.json").write_text(json.dumps(record), encoding="utf-8")
    output = run.parent / "all.jsonl"
    from tutelage.data.unlabelled import Source
    from tutelage.predict import predict

    predict(run, [], Source(file), output, abstain=True)
    confidences = sorted(one["confidence"] for one in lines(output))
    record["threshold"] = confidences[len(confidences) // 2]
    (run / "guarantee.json").write_text(json.dumps(record), encoding="utf-8")
    return float(record["threshold"])


def test_a_guarantee_is_written_told_shown_and_followed(
    kind: TaskSetup, copied: Path, tmp_path: Path, tutelage: Any
) -> None:
    said = tutelage("predict", str(copied), "a text", "--abstain")
    assert said.code == 3
    assert "Run `tutelage guarantee` for the run first" in said.err
    ended = tutelage("guarantee", str(copied), *EASY)
    assert ended.code == 0, ended.err
    found = read(copied / "guarantee.json")
    run = read_run(copied)
    dev, test = found["splits"]
    assert (dev["texts"], test["texts"]) == (kind.dev, len(run.after))
    assert (found["probability"] is None) == (kind.task == "ner")
    page = Page((copied / "report.html").read_text(encoding="utf-8"))
    assert "a shift of the texts" in page.text
    assert "a shift of the texts" in ended.out
    assert missing_and_unknown(copied)[1] == []
    by = {one["who"]: one for one in found["routes"]}
    assert by["both"]["tokens"] <= by["teacher"]["tokens"] > by["student"]["tokens"] == 0
    if kind.task == "classification":
        assert by["student"]["accuracy"] == pytest.approx(run.result["after"]["accuracy"])
    assert by["teacher"]["accuracy"] == pytest.approx(run.result["teacher"]["accuracy"])

    # Predictions below the threshold are withheld; a column of the same name keeps its values.
    file = tmp_path / "texts.jsonl"
    texts = [one.text for one in run.after]
    rows = [{"text": text, "guess": number} for number, text in enumerate([*texts, " "])]
    file.write_text("".join(json.dumps(one) + "\n" for one in rows[:-1]), encoding="utf-8")
    threshold = set_threshold(copied, file)
    file.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    output = tmp_path / "out.jsonl"
    command = ("predict", str(copied), "--file", str(file), "--output", str(output), "--keep-all")
    assert tutelage(*command).code == 0
    plain = lines(output)
    ended = tutelage(*command, "--abstain")
    assert ended.code == 0, ended.err
    answer = "entities" if kind.task == "ner" else "label"
    abstaining = lines(output)
    assert {one["abstained"] for one in abstaining} == {True, False}
    assert abstaining[-1]["abstained"] is True
    for before, after in zip(plain[:-1], abstaining[:-1], strict=True):
        assert after["abstained"] == (after["confidence"] < threshold)
        withheld, given = (after["guess"], after[answer])
        assert before[answer] == (withheld if after["abstained"] else given)
        assert (given if after["abstained"] else withheld) is None
        assert after["input_guess"] == before["guess"]
        if kind.task == "classification":
            chances = before["probabilities"]
            likely = {name for name in chances if chances[name] >= found["probability"]}
            assert set(after["set"]) == likely
            assert after["set"][:1] == [before["label"]][: len(likely)]
        else:
            assert "set" not in after

    # Another student has no guarantee from this file.
    (copied / "student" / "tutelage.json").write_text('{"max_length": 11}', encoding="utf-8")
    said = tutelage("predict", str(copied), "a text", "--abstain")
    assert said.code == 7
    assert "is the guarantee of another student" in said.err


def test_the_rest_of_a_killed_prediction_is_continued_with_the_same_guarantee_only(
    kind: TaskSetup, copied: Path, tmp_path: Path, tutelage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutelage.predict._CHUNK", 4)
    assert tutelage("guarantee", str(copied), *EASY).code == 0
    file, output = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    file.write_text("\n".join(f"text {n}" for n in range(10)), encoding="utf-8")
    command = ("predict", str(copied), "--file", str(file), "--output", str(output))
    assert tutelage(*command, "--abstain").code == 0
    whole = output.read_bytes()
    parts: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda path, _: parts.append(path))
        for options in ((), ("--abstain",)):
            assert tutelage(*command, *options).code == 0
    assert parts[0].name != parts[1].name
    parts[1].write_bytes(b"".join(whole.splitlines(keepends=True)[:6]))
    ended = tutelage(*command, "--abstain")
    assert "4 rows were labelled before and are kept" in ended.err
    assert output.read_bytes() == whole


def test_an_export_gets_a_guarantee_of_its_own(
    kind: TaskSetup, copied: Path, tutelage: Any
) -> None:
    assert tutelage("export", str(copied), "--format", "hf").code == 0
    folder = copied / "export" / "hf"
    assert tutelage("predict", str(folder), "a text", "--abstain").code == 3
    ended = tutelage("guarantee", str(copied), "--export", str(folder), *EASY)
    assert ended.code == 0, ended.err
    assert not (copied / "guarantee.json").exists()
    ended = tutelage("predict", str(folder), "a text", "--abstain")
    assert ended.code == 0, ended.err
    assert "abstained" in json.loads(ended.out)


def test_no_threshold_is_an_honest_outcome(copied: Path, tutelage: Any) -> None:
    ended = tutelage("guarantee", str(copied), "--accuracy", "0.999")
    assert ended.code == 0, ended.err
    found = read(copied / "guarantee.json")
    assert (found["threshold"], found["bound"], found["routes"]) == (None, None, [])
    # 2,995 texts without a mistake meet it.
    dev = found["splits"][0]["texts"]
    assert 2995 - dev <= found["missing"] <= 2995
    assert f"{found['missing']:,} more dev texts" in ended.out
    ended = tutelage("predict", str(copied), "a text", "--abstain")
    assert json.loads(ended.out)["abstained"] is True
    assert "No threshold met the target" in ended.err


@pytest.mark.parametrize(
    ("change", "options", "code", "said"),
    [
        ("", ("--accuracy", "1"), 2, "--accuracy 1 cannot be guaranteed"),
        ("", ("--risk", "0"), 2, "--risk 0 cannot be guaranteed"),
        ("data", (), 7, "gives no guarantee. The data set could not be read again"),
        ("status", (), 7, "is not finished (its state is failed)"),
    ],
)
def test_a_guarantee_that_cannot_be_is_one_sentence(
    copied: Path, tutelage: Any, change: str, options: tuple[str, ...], code: int, said: str
) -> None:
    if change == "data":
        config = (copied / "config.yaml").read_text(encoding="utf-8")
        (copied / "config.yaml").write_text(config.replace("path: ", "path: nowhere"), "utf-8")
    if change == "status":
        status = read(copied / "status.json")
        (copied / "status.json").write_text(json.dumps({**status, "state": "failed"}))
    ended = tutelage("guarantee", str(copied), *options)
    assert ended.code == code
    assert said in ended.err
    assert not (copied / "guarantee.json").exists()
