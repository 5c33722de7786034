"""LocalTeacher on the embedded model, and its agreement with vLLM."""

from __future__ import annotations

import pytest
import torch

from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
from tutelage.teacher.engines.local import LocalTeacher

PROMPTS = (
    "Text: play some jazz\nTopic:",
    "The capital of France is",
    "Text: will it rain in Paris tomorrow afternoon\nTopic:",
    "One, two,",
)
GREEDY = Sampling(temperature=0.0, max_tokens=6)
HOT = Sampling(temperature=1.0, top_p=0.9, top_k=50, max_tokens=6)


@pytest.fixture(scope="module")
def teacher(embedded_teacher):
    threads = torch.get_num_threads()
    # One thread: with two, another busy process on one core makes each matrix product wait at a
    # barrier (measured: 16 times slower).
    torch.set_num_threads(1)
    made = LocalTeacher(embedded_teacher, batch_size=3, max_model_len=256)
    yield made
    made.close()
    torch.set_num_threads(threads)


def test_a_batch_equals_its_requests_one_by_one_and_keeps_the_order(teacher):
    batch = [GenerateRequest(f"g{n}", prompt, HOT, seed=n) for n, prompt in enumerate(PROMPTS)]
    batch += [GenerateRequest(f"e{n}", prompt, GREEDY) for n, prompt in enumerate(PROMPTS)]
    scores = [ScoreRequest(f"s{n}", prompt, (500, 600)) for n, prompt in enumerate(PROMPTS)]
    arrived: list[str] = []
    together = teacher.ask([*scores, *batch], lambda reply: arrived.append(reply.id))
    assert [reply.id for reply in together] == [request.id for request in [*scores, *batch]]
    assert sorted(arrived) == sorted(reply.id for reply in together)
    for request, reply in zip(batch, together[len(scores) :], strict=True):
        assert teacher.ask([request])[0] == reply
    for request, reply in zip(scores, together, strict=False):
        assert teacher.ask([request])[0].logprobs == pytest.approx(reply.logprobs, abs=1e-4)


def test_the_global_random_state_is_left_alone(teacher):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = teacher.ask(
        [
            GenerateRequest("a", PROMPTS[1], HOT, seed=3),
            GenerateRequest("b", PROMPTS[1], HOT, seed=4),
        ]
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert first[0].text != first[1].text


def test_bad_requests_fail_alone(teacher):
    schema = '{"type": "object"}'
    replies = teacher.ask(
        [
            GenerateRequest("long", "word " * 400, GREEDY),
            GenerateRequest("schema", PROMPTS[1], GREEDY, json_schema=schema),
            ScoreRequest("choice", PROMPTS[1], (10**7,)),
            GenerateRequest(
                "stop",
                "One, two, three, four,",
                Sampling(temperature=0.0, max_tokens=30, stop=(" seven", ",")),
            ),
        ]
    )
    assert "teacher.max_model_len" in replies[0].error
    assert "does not enforce a schema" in replies[1].error
    assert "no token id" in replies[2].error
    assert replies[3].error == ""
    assert replies[3].finish_reason == "stop"
    assert "," not in replies[3].text


@pytest.mark.vllm
def test_it_agrees_with_vllm(teacher, engine):
    tokens = tuple(ids[0] for ids in teacher.tokenize([" music", " weather", " Paris", " three"]))
    assert engine.tokenize(PROMPTS) == teacher.tokenize(PROMPTS)
    requests = [ScoreRequest(str(n), prompt, tokens) for n, prompt in enumerate(PROMPTS)]
    texts = [GenerateRequest(f"t{n}", prompt, GREEDY) for n, prompt in enumerate(PROMPTS)]
    ours, theirs = teacher.ask([*requests, *texts]), engine.ask([*requests, *texts])
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.logprobs == pytest.approx(other.logprobs, abs=1e-3)
        assert (mine.text, mine.tokens) == (other.text, other.tokens)


def test_a_closed_teacher_and_settings_that_cannot_be(embedded_teacher):
    made = LocalTeacher(embedded_teacher)
    assert made.fingerprint == LocalTeacher(embedded_teacher).fingerprint
    made.close()
    with pytest.raises(TeacherError, match="was closed"):
        made.ask([GenerateRequest("a", "b", GREEDY)])
    with pytest.raises(ConfigError, match="Did you mean 'float32'"):
        LocalTeacher(embedded_teacher, dtype="flaot32")
    with pytest.raises(ConfigError, match="at least 1"):
        LocalTeacher(embedded_teacher, batch_size=0)
