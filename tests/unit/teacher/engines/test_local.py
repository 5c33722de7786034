"""LocalTeacher without a model; tests/integration/test_local.py runs the embedded one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
from tutelage.teacher.engines.local import LocalTeacher


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder that passes for a model, with one token per word."""
    (tmp_path / "config.json").write_text("{}")

    def load(teacher: Any) -> Any:
        teacher._tokenizer = lambda texts: {
            "input_ids": [list(range(len(text.split()))) for text in texts]
        }
        return SimpleNamespace(config=SimpleNamespace(vocab_size=100))

    def score(_: Any, requests: list[ScoreRequest], prompts: list[list[int]]) -> list[Any]:
        return [SimpleNamespace(id=request.id, error="") for request in requests]

    monkeypatch.setattr(LocalTeacher, "_load", load)
    monkeypatch.setattr(LocalTeacher, "_score", score)
    return str(tmp_path)


@pytest.mark.parametrize(("length", "fits"), [(7, True), (8, False)])
def test_a_prompt_must_leave_room_for_one_token(model: str, length: int, fits: bool) -> None:
    teacher = LocalTeacher(model, max_model_len=8)
    (reply,) = teacher.ask([ScoreRequest("a", " ".join(["word"] * length), (1,))])
    assert (reply.error == "") is fits
    assert ("raise teacher.max_model_len" in reply.error) is not fits


def test_a_higher_limit_lets_the_same_prompt_through(model: str) -> None:
    request = GenerateRequest("a", " ".join(["word"] * 3000), Sampling())
    assert "the engine takes 2047" in LocalTeacher(model).ask([request])[0].error
    score = ScoreRequest("a", request.prompt, (1,))
    assert LocalTeacher(model, max_model_len=4096).ask([score])[0].error == ""


def test_the_limit_is_part_of_the_fingerprint(model: str) -> None:
    one = LocalTeacher(model, max_model_len=1024).fingerprint
    assert one != LocalTeacher(model, max_model_len=512).fingerprint
    assert LocalTeacher(model).fingerprint == LocalTeacher(model, max_model_len=2048).fingerprint
