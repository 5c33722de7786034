"""Explanations: the teacher explains and corrects each mistake of the student in one reply.

After ELAD (Zhang et al. 2024, arXiv 2402.13098; reconstructed from its summary). There the student
writes down its reasoning, and the teacher finds the step that went wrong and corrects it. An
encoder gives a label and no reason, so the teacher explains the label: what in the text misled the
student, and what shows the right label. It corrects the label too. Where it does not arrive at the
label of the row, it contradicts itself (the label of a written or pool text is its own), and the
explanation is left out. The student learns from the new texts, not from the explanations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tutelage.labelling.ner_verify import NONE
from tutelage.methods.generation.artefacts import clean
from tutelage.methods.generation.chatter import is_refusal
from tutelage.records import Outcome
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import GenerateRequest, Reply, Sampling
from tutelage.teacher.prompts import PromptSet
from tutelage.teacher.structured import completed, validate

_FIELD = "mistakes"
"""The field of a reply with the explanations."""
_EACH_TOKENS, _REPLY_TOKENS = 64, 16
"""Room for an explanation and for the JSON around all of them, in tokens."""


class Explanation(NamedTuple):
    """The teacher's explanation of one mistake.

    Attributes:
        classes: The correct and the predicted class; "" for no entity.
        text: The explanation, behind the words of the two classes.
    """

    classes: tuple[str, str]
    text: str


def explain_request(
    task: Task, prompts: PromptSet, wrong: Sequence[Outcome], max_tokens: int | None, seed: int
) -> GenerateRequest:
    """Builds the request for the explanations of a round.

    Args:
        task: The task.
        prompts: The prompt templates.
        wrong: The mistakes; of a sentence with several wrong entities, the first is explained.
        max_tokens: Longest reply, in tokens; None for 64 per mistake.
        seed: The sampling seed; the reply is greedy.
    """
    room = len(wrong) * _EACH_TOKENS + _REPLY_TOKENS
    return GenerateRequest(
        id="analysis",
        prompt=prompts.render(
            "explain", mistakes=[task.shown(outcome) for outcome in wrong], labels=task.labels
        ),
        sampling=Sampling(
            temperature=0.0, max_tokens=max_tokens or min(room, prompts.reply_room("explain"))
        ),
        seed=seed,
        json_schema=_schema(task, len(wrong)),
    )


def read_explanations(
    task: Task, wrong: Sequence[Outcome], reply: Reply
) -> tuple[Explanation, ...]:
    """Reads the explanations of a reply; those that contradict the row's label are left out.

    Args:
        task: The task.
        wrong: The mistakes, as requested.
        reply: The reply. One that does not fit explains nothing.
    """
    schema = _schema(task, len(wrong))
    text, mismatch = completed(reply.text, reply.finish_reason, schema)
    if reply.error or mismatch:
        return ()
    words = {**_words(task), "": NONE.word}
    found: dict[int, Explanation] = {}
    for item in validate(text, schema)[_FIELD]:
        number = int(item["number"])  # JSON's 1.0 is 1.
        mistake = task.mistakes(wrong[number - 1])[0]
        right, predicted = words[mistake.right], words[mistake.predicted]
        said = " ".join(filter(None, map(clean, item["explanation"].splitlines())))
        if item["label"] == right and said and not is_refusal(said):
            pair = right if right == predicted else f"{right}, not {predicted}"
            # The first of two explanations of the same mistake stays.
            classes = (mistake.right, mistake.predicted)
            found.setdefault(number, Explanation(classes, f"{pair}: {said}"))
    return tuple(found[number] for number in sorted(found))


def as_text(explanations: Iterable[Explanation]) -> str:
    """Returns explanations as one text."""
    return " ".join(one.text for one in explanations)


def _words(task: Task) -> dict[str, str]:
    return {label.name: label.word for label in task.labels}


def _schema(task: Task, count: int) -> str:
    words = [*_words(task).values(), *([NONE.word] if task.is_token_level else [])]
    fields = {
        "number": {"enum": list(range(1, count + 1))},
        # The label follows from the explanation, so it comes behind it.
        "explanation": {"type": "string"},
        "label": {"enum": list(dict.fromkeys(words))},
    }
    items = {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }
    # A list may be empty in so many words, so that the start of one that was cut short fits.
    mistakes = {"type": "array", "items": items, "minItems": 0, "maxItems": count}
    return json.dumps(
        {
            "type": "object",
            "properties": {_FIELD: mistakes},
            "required": [_FIELD],
            "additionalProperties": False,
        },
        ensure_ascii=False,
    )
