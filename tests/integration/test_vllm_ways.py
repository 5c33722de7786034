"""A chat model labels by texts to continue and writes in messages, in one run on the real vLLM."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.helpers.classification import LABELS, prompt_set

from tutelage.labelling.base import Draft
from tutelage.labelling.calibration import suited_calibration
from tutelage.labelling.text_labeller import TextLabeller
from tutelage.methods.generation.specs import GenerationSpec, Shown
from tutelage.methods.generation.writer import Writer
from tutelage.records import Example
from tutelage.teacher.base import Chat, Sampling
from tutelage.teacher.engines.vllm import VllmTeacher

pytestmark = pytest.mark.vllm

SHOTS = [
    Example(str(number), f"a request for {label.word}", label.name)
    for number, label in enumerate(LABELS)
]


@pytest.mark.parametrize("capable", [True, False])
def test_labels_and_texts_are_asked_in_their_own_ways(engine: VllmTeacher, capable: bool) -> None:
    prompts = prompt_set("auto_classification")
    # The embedded model is too small to count as one that chats suit.
    prompts.settle(capable, engine.tokenize, engine.context_length)
    calibrator = suited_calibration(prompts.suits_chat)
    assert calibrator.name == ("half_matched" if capable else "matched")
    drafts = [Draft("play some jazz"), Draft("may I have your hammer")]
    shown = TextLabeller(engine, LABELS, prompts, SHOTS, calibrator)
    bare = TextLabeller(engine, LABELS, prompts, (), calibrator)
    writer = Writer(
        prompts,
        Sampling(temperature=0.8, top_p=0.95, max_tokens=40, stop=("\n",)),
        min_words=1,
        max_words=60,
        max_tokens=40,
    )
    spec = GenerationSpec(LABELS[1], "easy", (Shown("could you lend me a saw"),))
    asked = {
        "shown": shown.requests(drafts)[0],
        "bare": bare.requests(drafts)[0],
        "written": writer.requests([spec], 1, 1, LABELS)[0],
    }
    ways = {name: isinstance(request.prompt, Chat) for name, request in asked.items()}
    assert ways == {"shown": False, "bare": capable, "written": capable}
    requests = [replace(request, id=name) for name, request in asked.items()]
    assert not [reply.error for reply in engine.ask(requests) if reply.error]
    for labeller in (shown, bare):
        assert not labeller.label(drafts).errors
    (written,) = writer.write(engine, [spec], 1, 1, labels=LABELS)
    assert not written.failed
