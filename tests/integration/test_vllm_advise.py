"""The cost that advice gives is the one that an engine bills."""

from __future__ import annotations

import pytest

from tutelage.advise.price import _tokens
from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
from tutelage.teacher.engines.vllm import VllmTeacher
from tutelage.teacher.stack import build_teacher

pytestmark = pytest.mark.vllm


def test_tokens_are_counted_as_they_are_billed(engine: VllmTeacher):
    prompts = ["Text: play some jazz\nTopic:", "Text: ¿lloverá mañana en Córdoba?\nTopic:"]
    choices = tuple(ids[0] for ids in engine.tokenize([" music", " weather"]))
    scores = [ScoreRequest(str(n), prompt, choices) for n, prompt in enumerate(prompts)]
    stack = build_teacher(engine)
    billed = [reply.tokens for reply in engine.ask(scores)]
    assert _tokens(stack, scores) == billed
    # A text that is written costs no more than it is counted with.
    writes = GenerateRequest("w", prompts[0], Sampling(max_tokens=8, temperature=0))
    (reply,) = engine.ask([writes])
    (counted,) = _tokens(stack, [writes])
    assert counted - 8 < reply.tokens <= counted
