"""The real vLLM on the embedded model."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tutelage.errors import TeacherError
from tutelage.teacher.base import GenerateRequest, Reply, Sampling, ScoreRequest
from tutelage.teacher.engines.vllm import VllmTeacher
from tutelage.teacher.stack import build_teacher
from tutelage.teacher.structured import validate

pytestmark = pytest.mark.vllm

SHOTS = (
    "Text: play some jazz\nTopic: music\n\nText: will it rain in Paris tomorrow\nTopic: weather\n\n"
)
TEXTS = (
    "book a table for two",
    "play the new record",
    "is it cold outside",
    "add this to my list",
    "rate this novel four stars",
)
GREEDY = Sampling(temperature=0.0, max_tokens=12)
HOT = Sampling(temperature=1.0, top_p=0.95, max_tokens=12)


def prompts() -> list[str]:
    return [f"{SHOTS}Text: {text}\nTopic:" for text in TEXTS]


def choices(engine: VllmTeacher) -> tuple[int, ...]:
    return tuple(ids[0] for ids in engine.tokenize([" music", " weather", " food", " book"]))


def bare(replies: list[Reply]) -> list[tuple[object, ...]]:
    return [(reply.text, reply.logprobs, reply.completion_tokens, reply.error) for reply in replies]


def test_a_mixed_batch_streams_back_and_keeps_its_order(engine):
    returned = False
    arrived: list[tuple[str, bool, float]] = []
    batch = [
        GenerateRequest(f"g{n}", prompt, Sampling(temperature=0.0, max_tokens=4 + 20 * n))
        for n, prompt in enumerate(prompts())
    ]
    batch += [ScoreRequest(f"s{n}", prompt, choices(engine)) for n, prompt in enumerate(prompts())]
    replies = engine.ask(
        batch, lambda reply: arrived.append((reply.id, returned, time.monotonic()))
    )
    ended = time.monotonic()
    returned = True
    assert [reply.id for reply in replies] == [request.id for request in batch]
    assert sorted(name for name, _, _ in arrived) == sorted(request.id for request in batch)
    assert not any(late for _, late, _ in arrived)
    # Replies arrive one by one: the first score long before the longest text.
    assert arrived[-1][0].startswith("g")
    assert ended - arrived[0][2] > 0.1
    assert all(reply.prompt_tokens > 10 and not reply.error for reply in replies)
    assert all(len(reply.logprobs) == 4 for reply in replies[5:])


def test_scores_are_the_raw_log_softmax_of_the_whole_vocabulary(engine, embedded_teacher):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokens = choices(engine)
    replies = engine.ask(
        [ScoreRequest(str(n), prompt, tokens) for n, prompt in enumerate(prompts())]
    )
    tokenizer = AutoTokenizer.from_pretrained(embedded_teacher)
    model = AutoModelForCausalLM.from_pretrained(embedded_teacher, dtype=torch.float32).eval()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for prompt, reply in zip(prompts(), replies, strict=True):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            expected = torch.log_softmax(model(ids).logits[0, -1].float(), -1)
        assert reply.prompt_tokens == ids.shape[1]
        assert reply.logprobs == pytest.approx(
            [float(expected[token]) for token in tokens], abs=1e-3
        )
    torch.set_num_threads(threads)


def test_a_reply_does_not_depend_on_its_batch(engine):
    tokens = choices(engine)
    batch = [ScoreRequest(f"s{n}", prompt, tokens) for n, prompt in enumerate(prompts())]
    batch += [GenerateRequest(f"g{n}", prompt, GREEDY) for n, prompt in enumerate(prompts())]
    batch += [GenerateRequest(f"h{n}", prompt, HOT, seed=n) for n, prompt in enumerate(prompts())]
    together = bare(engine.ask(batch))
    assert bare(engine.ask(batch[::-1]))[::-1] == together
    assert [bare(engine.ask([request]))[0] for request in batch] == together


def test_seeds_decide_the_draw_and_nothing_else_does(engine):
    batch = [
        GenerateRequest(str(n), prompts()[0], HOT, seed=seed)
        for n, seed in enumerate((1, 1, 2, 0, 2**63 - 1))
    ]
    texts = [reply.text for reply in engine.ask(batch)]
    assert texts[0] == texts[1]
    assert len(set(texts)) >= 3
    assert [reply.text for reply in engine.ask(batch)] == texts


def test_seeded_prompts_may_fill_more_than_one_step(engine):
    # 20 prompts of about 300 tokens exceed the 4096 of a step, so chunked prefill, if allowed,
    # would split one of them.
    batch = [
        GenerateRequest(str(n), f"{n} " + "far away " * 150, Sampling(max_tokens=2), seed=n)
        for n in range(20)
    ]
    replies = engine.ask(batch)
    assert sum(reply.prompt_tokens for reply in replies) > 5000
    assert not any(reply.error for reply in replies)


def test_stop_strings_end_a_text_and_are_no_part_of_it(engine):
    reply = engine.ask(
        [GenerateRequest("a", SHOTS, Sampling(temperature=0.0, max_tokens=60, stop=("\n",)))]
    )[0]
    assert reply.finish_reason == "stop"
    assert "\n" not in reply.text


def test_a_json_schema_is_kept_to(engine):
    schema = (
        '{"type":"object","properties":{"city":{"type":"string","maxLength":12}},'
        '"required":["city"],"additionalProperties":false}'
    )
    reply = engine.ask(
        [
            GenerateRequest(
                "a",
                "A city as JSON: ",
                Sampling(temperature=0.0, max_tokens=40),
                json_schema=schema,
            )
        ]
    )[0]
    assert reply.error == ""
    assert set(validate(reply.text, schema)) == {"city"}
    cut = engine.ask(
        [
            GenerateRequest(
                "a", "A city as JSON: ", Sampling(temperature=0.0, max_tokens=2), json_schema=schema
            )
        ]
    )[0]
    assert "raise max_tokens" in cut.error


def test_what_one_request_does_wrong_is_its_own_error(engine):
    bad = '{"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}'
    replies = engine.ask(
        [
            GenerateRequest("long", "word " * 600, GREEDY),
            ScoreRequest("choice", prompts()[0], (10**7,)),
            GenerateRequest("schema", prompts()[0], GREEDY, json_schema=bad),
            GenerateRequest("empty", "", GREEDY),
            GenerateRequest("fine", prompts()[0], GREEDY),
        ]
    )
    errors = {reply.id: reply.error for reply in replies}
    assert "teacher.max_model_len" in errors["long"]
    assert "no token id of this model" in errors["choice"]
    assert errors["schema"]
    assert errors["empty"]
    assert errors["fine"] == ""


def test_a_batch_that_is_given_up_leaves_nothing_behind(engine):
    class Stop(Exception):
        pass

    def stop(reply):
        raise Stop

    with pytest.raises(Stop):
        engine.ask(
            [GenerateRequest(str(n), prompt, GREEDY) for n, prompt in enumerate(prompts())], stop
        )
    assert engine.ask([GenerateRequest("0", prompts()[0], GREEDY)])[0].completion_tokens > 0


def test_kill_9_in_the_middle_is_one_error_and_what_was_answered_is_in_the_cache(engine, tmp_path):
    stack = build_teacher(engine, cache=tmp_path / "c.sqlite")
    batch = [
        GenerateRequest(str(n), prompts()[n % 5], Sampling(max_tokens=4 + 4 * n), seed=n)
        for n in range(30)
    ]
    arrived: list[str] = []

    def kill_at_the_third(reply: Reply) -> None:
        arrived.append(reply.id)
        if len(arrived) == 3:
            os.kill(engine.pid, signal.SIGKILL)

    with pytest.raises(TeacherError, match="was ended by SIGKILL"):
        stack.teacher.ask(batch, kill_at_the_third)
    assert 3 <= len(arrived) < 30
    assert engine.pid is None
    again = stack.teacher.ask(batch)
    assert {reply.id for reply in again if reply.cached} == set(arrived)
    assert not any(reply.error for reply in again)
