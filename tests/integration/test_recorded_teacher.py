"""Repeats a stronger teacher's result of docs/results/entities.md from its recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers.tiny import grow
from tests.helpers.tiny_ner import ner_student

RECORDING = (
    Path(__file__).parents[2] / "benchmarks" / "recordings" / "qwen2.5-coder-0.5b-wikigold.jsonl"
)

RUN = [
    "task=ner",
    "data=wikigold",
    "ablation=no_feedback",  # requests do not depend on the student, so any student will do
    # As it was recorded: lengths and shown texts have followed the data since then.
    *("method.max_tokens=56", "method.min_words=3", "method.max_words=60"),
    "prompt.shown_tokens=600",
    "method.rounds=60",
    "method.n_hard=14",
    "method.n_easy=14",
    "budget.tokens=100000",
    "evaluate.teacher=true",
    "seed=1",
]
"""The arm "static" of sweep=ner_arms, and the teacher alone."""


def test_the_recorded_teacher_writes_and_marks_as_documented(tmp_path: Path) -> None:
    given = [
        f"student.model={ner_student(tmp_path / 'student')}",
        "student.max_length=64",
        "trainer.accelerator=cpu",
        "threads=1",
    ]
    short = [
        "training.start_epochs=1",
        "training.round_epochs=1",
        "training.final_epochs=1",
    ]
    result = grow(
        tmp_path / "run", [*RUN, *given, *short, "teacher=replay", f"teacher.recording={RECORDING}"]
    )
    assert result["rows"] == {"accepted": 74, "rejected": 70}
    assert result["tokens"]["billed"] == 85_534
    assert result["tokens"]["spent"] == 0
    assert result["teacher"]["failed"] == 0
    assert result["teacher"]["f1_strict"] == pytest.approx(0.596, abs=5e-4)


def test_the_recording_names_no_folder_of_the_machine_that_made_it() -> None:
    header = json.loads(RECORDING.read_text(encoding="utf-8").splitlines()[0])
    assert json.loads(header["fingerprint"].removeprefix("vllm:"))["model"].startswith("sha256:")
