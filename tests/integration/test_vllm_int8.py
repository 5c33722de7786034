"""The int8 copy of the embedded model in the real vLLM.

Runs after the tests sharing the session's engine, which ends here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tutelage.teacher.base import GenerateRequest, Reply, Request, Sampling, ScoreRequest
from tutelage.teacher.engines.int8 import int8_path
from tutelage.teacher.engines.vllm import VllmTeacher

pytestmark = pytest.mark.vllm

TEXTS = ("play some jazz", "is it cold outside", "book a table for two", "rate this novel", "sing")
SHOTS = "Text: put on a record\nTopic: music\n\nText: will it rain in Paris\nTopic: weather\n\n"


def scores(replies: list[Reply]) -> np.ndarray:
    return np.array([reply.logprobs for reply in replies if reply.logprobs])


def test_an_int8_copy_answers_nearly_as_the_model(
    engine: VllmTeacher, embedded_teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = tuple(ids[0] for ids in engine.tokenize([" music", " weather", " food", " book"]))
    batch: list[Request] = [
        ScoreRequest(text, f"{SHOTS}Text: {text}\nTopic:", choices) for text in TEXTS
    ]
    greedy = Sampling(temperature=0.0, max_tokens=6)
    batch += [
        GenerateRequest(f"g{number}", prompt, greedy)
        for number, prompt in enumerate(("The capital of France is", "Snow is", "In the morning,"))
    ]
    full = engine.ask(batch)
    engine.hand_over()
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path))
    rounded = VllmTeacher(embedded_teacher, max_model_len=512, kv_cache_gb=0.5, quantization="int8")
    try:
        made = rounded.ask(batch)
        alone = [reply for request in batch for reply in rounded.ask([request])]
    finally:
        rounded.close()
    assert int8_path(embedded_teacher).parent == tmp_path / "models"
    apart = np.abs(scores(made) - scores(full))
    # Other numbers, but close: int8 was not ignored, and its scales belong to the right rows.
    assert 0 < apart.mean() < 0.5
    assert apart.max() < 2
    assert "Paris" in made[len(TEXTS)].text
    # Sums of integers are exact, so that a reply does not depend on its neighbours.
    assert [reply.text for reply in alone] == [reply.text for reply in made]
    assert np.allclose(scores(alone), scores(made), atol=0.01)
