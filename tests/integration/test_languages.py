"""Runs on Chinese, German and biomedical texts: nothing is lost to rules made for English."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.helpers.language_teacher import DATA, rows
from tests.helpers.real_runs import SMALL_ENGINE, train
from tests.helpers.tiny import EVOKD, grow, lines
from tests.helpers.tiny_student import tiny_encoder

LENGTHS = ("under ", "over ", "cut off", "empty")
EVOKD_RUN = (*EVOKD, "method.mistake_margin=0", "shots=2")
LLKD_RUN = ("method=llkd", "training.start_epochs=3", "shots=2")
ENTITIES = (
    "task=ner",
    "data.genre='reports of trials'",
    "data.leads=['']",
    "data.labels={chemical:{word:chemical,description:chemicals},"
    "disease:{word:disease,description:diseases}}",
)


def student_of(folder: str, path: Path) -> Path:
    """A tiny encoder that knows the words of a data set, and every single character."""
    words: set[str] = set()
    for row in rows(folder, "train"):
        text = " ".join(row["tokens"]) if "tokens" in row else str(row["text"])  # type: ignore[arg-type]
        words |= {*text.lower().split(), *text.lower()}
    return tiny_encoder(path, words=sorted(words))


def common(folder: str, path: Path) -> list[str]:
    teacher = "MedicalTeacher" if folder == "biomedical" else "ClassTeacher"
    return [
        *(ENTITIES if folder == "biomedical" else ()),
        "data=files",
        f"data.path={DATA / folder}",
        "teacher=local",
        f"teacher._target_=tests.helpers.language_teacher.{teacher}",
        f"+teacher.folder={folder}",
        f"teacher.cache={path / 'replies.sqlite'}",
        f"student.model={student_of(folder, path / 'student')}",
        "student.learning_rate=1e-2",
        "student.max_length=48",
        "trainer.accelerator=cpu",
        "threads=1",
        "evaluate.supervised=false",
    ]


def grown(path: Path) -> list[dict[str, Any]]:
    return [row for row in lines(path / "pool" / "rows.jsonl") if row["source"] != "gold"]


@pytest.mark.parametrize("folder", ["chinese", "german", "biomedical"])
def test_texts_are_written_and_kept_in_every_language(folder: str, tmp_path: Path) -> None:
    result = grow(tmp_path / "run", [*common(folder, tmp_path), *EVOKD_RUN])
    texts = grown(tmp_path / "run")
    assert len(texts) == 28
    assert not [row for row in texts if row["reason"].startswith(LENGTHS)]
    accepted = [row for row in texts if row["accepted"]]
    assert len(accepted) >= 10, [row["reason"] for row in texts]
    assert result["rounds"] == 2
    if folder == "chinese":
        assert not any(" " in row["text"] for row in accepted)
    if folder == "biomedical":
        # Small letters: the named entity, and the other one that only candidates find.
        assert sum(row["target"].count("[") > 2 for row in accepted) >= len(accepted) / 2


@pytest.mark.parametrize("folder", ["chinese", "german", "biomedical"])
def test_pools_are_labelled_in_every_language(folder: str, tmp_path: Path) -> None:
    grow(tmp_path / "run", [*common(folder, tmp_path), *LLKD_RUN])
    texts = grown(tmp_path / "run")
    gold = {
        " ".join(row["tokens"]) if "tokens" in row else row["text"]: row.get("label")  # type: ignore[arg-type]
        for row in rows(folder, "train")
    }
    assert texts
    for row in texts:
        assert row["accepted"]
        assert row["text"] in gold
        if folder != "biomedical":
            assert row["target"] == gold[row["text"]]
    if folder == "biomedical":
        # Two sentences in three name a chemical or a disease, or both.
        assert sum(row["target"] != "[]" for row in texts) > len(texts) / 2


@pytest.mark.vllm
def test_chinese_on_a_real_engine(tmp_path: Path) -> None:
    """The embedded teacher knows little Chinese: its texts are read, labelled and counted."""
    overrides = [
        "data=files",
        f"data.path={DATA / 'chinese'}",
        *SMALL_ENGINE,
        f"teacher.cache={tmp_path / 'replies.sqlite'}",
        "prompt.language=Chinese",
        "method.rounds=1",
        "method.n_hard=4",
        "method.n_easy=4",
        "shots=1",
        "training.start_epochs=2",
        "training.round_epochs=1",
        "training.final_epochs=1",
    ]
    result = train(tmp_path / "run", *overrides)
    texts = grown(tmp_path / "run")
    assert len(texts) == 8
    assert result["requests"]["failed"] == 0
    assert not all(row["reason"].startswith(LENGTHS) for row in texts)
    assert [row for row in texts if row["distribution"]]
