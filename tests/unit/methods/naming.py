"""EvoKD on NER: a teacher of a few names, the method, student outcomes, and a grown round."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers.classification import WordTeacher, context, evokd_settings, prompt_set
from tests.helpers.methods import evokd
from tests.helpers.ner import TYPES, marked, scored_mention
from tests.helpers.ner_teacher import WORDS, make_name, type_of

from tutelage.labelling.calibration import BatchCalibration
from tutelage.labelling.ner_candidates import SpanCandidates
from tutelage.labelling.ner_verify import SpanVerifier
from tutelage.methods.evokd.method import EvoKD
from tutelage.records import Example, Feedback, Growth, Outcome
from tutelage.selectors.acceptance import LabelAgreement
from tutelage.tasks.ner import NerTask
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Request, ScoreRequest, Teacher

TASK = NerTask(TYPES)
WORD_OF = {label.name: label.word for label in TYPES}
MISSED = ("Xanadu", "Avalon")
"""Places that the teacher knows and that it invents nowhere."""

SHOTS = (
    marked("then Clara Dune left the group", {"Clara Dune": "PER"}),
    marked("a river near Lake Quay", {"Lake Quay": "LOC"}),
    marked("the friends of Royal Pier", {"Royal Pier": "ORG"}),
)
LEADS = ["", "He met", "In 1998 ,"]


def obliging(request: Request) -> str | list[float]:
    """Invents and knows the names of tests.helpers.ner_teacher; one name per sentence."""
    if isinstance(request, ScoreRequest):
        mention = scored_mention(request.prompt)[1]
        said = "place" if mention in MISSED else type_of(mention)
        return [-0.1 if word == said else -4.0 for word in (*WORD_OF.values(), "none")]
    rng = random.Random(request.seed)
    if request.id == "analysis":
        return " misses places that stand alone.\n"
    if "/" in request.id:
        return " " + make_name(WORD_OF[request.id.split("/")[0]], rng)
    return " " + " ".join(rng.sample(WORDS, 6))


def going_on(*endings: str) -> Any:
    """An obliging teacher whose sentences take turns with these endings.

    Braces stand for random words.
    """
    return lambda request: (
        endings[int(request.id) % len(endings)].replace(
            "{}", " ".join(random.Random(request.seed).sample(WORDS, 4))
        )
        if request.id.isdigit() and not isinstance(request, ScoreRequest)
        else obliging(request)
    )


def seen(number: int, name: str, type: str, said: str) -> Outcome:
    """A student's outcome on a sentence with one name; ``said`` is its type, "" for no entity."""
    text = f"number {number} was {name} of old"
    gold, predicted = (
        marked(text, {name: given} if given else {}).label or "" for given in (type, said)
    )
    return Outcome(f"seen {number} {name}", text, gold, predicted, (0.6,), "easy", 1)


def feedback(outcomes: Sequence[Outcome]) -> Feedback:
    return Feedback(0, tuple(outcomes), TASK.scores(outcomes))


RIGHT = [
    seen(n, name, type, type)
    for n in range(6)
    for name, type in (("Ada Birch", "PER"), ("First Marsh", "ORG"))
]
WEAK = feedback([*RIGHT, *(seen(n, name, "LOC", "") for n in range(3) for name in MISSED)])
"""A student that misses places."""


def method(leads: Sequence[str] = LEADS, links: Sequence[str] = ("and",), **changes: Any) -> EvoKD:
    prompts = prompt_set("completion_ner", leads=leads, links=links)

    def labeller(task: Task, teacher: Teacher, demonstrations: Sequence[Example]) -> SpanVerifier:
        return SpanVerifier(
            teacher, task.labels, prompts, demonstrations, BatchCalibration(), SpanCandidates()
        )

    return evokd(
        prompts=prompts,
        acceptance=LabelAgreement(),
        new_labeller=labeller,
        **evokd_settings(**changes),
    )


def grown(
    folder: Path, given: Feedback = WEAK, script: Any = obliging, **changes: Any
) -> tuple[WordTeacher, Growth]:
    """What a round asked and gave."""
    teacher, one = WordTeacher(script), method(**changes)
    one.setup(context(folder, teacher, task=TASK, shots=SHOTS, dev=(), held_out=()))
    return teacher, one.next_rows(one.aimed_at(given), 1)


def sentences(teacher: WordTeacher) -> list[tuple[str, str]]:
    """TaskSetup and opening of every sentence that was asked for."""
    return [
        (
            "hard" if ", with " in request.prompt else "easy",
            request.prompt.splitlines()[-1].removeprefix("- "),
        )
        for request in teacher.generations()
        if request.id.isdigit()
    ]
