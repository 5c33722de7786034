"""Lists of texts, written under a schema by the real vLLM on the embedded model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.helpers.classification import LABELS, prompt_set

from tutelage.methods.generation.specs import GenerationSpec, Shown
from tutelage.methods.generation.writer import Writer
from tutelage.teacher.base import GenerateRequest, Sampling
from tutelage.teacher.engines.vllm import VllmTeacher
from tutelage.teacher.structured import validate

pytestmark = pytest.mark.vllm

SPEC = GenerationSpec(
    LABELS[1],
    "easy",
    (Shown("could you lend me a saw"), Shown("may I have a drill"), Shown("a hammer, please")),
)
WRITER = Writer(
    prompt_set("chat_classification"),
    Sampling(temperature=0.8, top_p=0.95, max_tokens=40, stop=("\n",)),
    min_words=1,
    max_words=60,
    max_tokens=40,
    texts_per_request=4,
)


def lists(engine: VllmTeacher) -> list[tuple[GenerateRequest, int, list[str]]]:
    """Requests for four texts with the tokens and the texts of their replies, where there are any.

    So small a model does not end every list in time.
    """
    requests = WRITER.requests([SPEC] * 48, 1, 1, LABELS)
    return [
        (
            request,
            reply.completion_tokens if reply.finish_reason == "stop" else 0,
            validate(reply.text, request.json_schema)["texts"],
        )
        for request, reply in zip(requests, engine.ask(requests), strict=True)
        if not reply.error
    ]


def test_four_texts_come_by_one_request(engine: VllmTeacher) -> None:
    found = lists(engine)
    assert len(found) >= 6
    assert all(len(texts) <= 4 for _, _, texts in found)
    assert max(len(texts) for _, _, texts in found) == 4
    written = WRITER.write(engine, [SPEC] * 48, 1, 1, labels=LABELS)
    assert [one.draw for one in written] == list(range(48))
    assert sum(bool(one.text) for one in written) == sum(
        bool(text.strip()) for _, _, texts in found for text in texts
    )


def test_a_list_that_was_cut_short_keeps_its_whole_texts(engine: VllmTeacher) -> None:
    request, tokens, texts = next(
        one for one in lists(engine) if one[1] and len(one[2]) > 1 and len(one[2][-1]) > 20
    )
    # The last text loses its end.
    room = tokens - len(engine.tokenize([texts[-1]])[0]) // 2 - 3
    shorter = replace(request, sampling=replace(request.sampling, max_tokens=room))
    (cut,) = engine.ask([shorter])
    assert (cut.finish_reason, cut.error) == ("length", "")
    assert validate(cut.text, request.json_schema)["texts"] == texts[:-1]
