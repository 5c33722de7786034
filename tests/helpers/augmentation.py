"""LLM-DA on three annotated shots, with a scripted teacher that rewrites them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers.classification import RecordedProgress, WordTeacher, context, prompt_set, shipped
from tests.helpers.methods import llm_da
from tests.helpers.ner import TYPES, marked, scored_mention
from tests.helpers.ner_teacher import DESCRIPTIONS, WORDS, make_name, type_of

from tutelage.labelling.calibration import NoCalibration
from tutelage.labelling.ner_candidates import SpanCandidates
from tutelage.labelling.ner_verify import SpanVerifier
from tutelage.methods.generation.mentions import mentions_of
from tutelage.methods.llm_da.method import LLMDA
from tutelage.records import Example, Feedback, Growth, Row
from tutelage.selectors.acceptance import LabelAgreement
from tutelage.tasks.ner import NerTask
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Request, ScoreRequest, Teacher

NER = NerTask(TYPES)
SHOTS = (
    marked(
        "then Clara Dune left the group of friends near Lake Quay",
        {"Clara Dune": "PER", "Lake Quay": "LOC"},
    ),
    marked("a small river flows for many years past Old Grove", {"Old Grove": "LOC"}),
    marked(
        "Royal Pier was founded by Hugo Heath and Royal Pier grew",
        {"Royal Pier": "ORG", "Hugo Heath": "PER"},
    ),
)
NOTHING = Feedback(0, (), {})


def names_and_sentence(prompt: str) -> tuple[list[str], str]:
    """Parses a rewriting prompt into its names and its sentence."""
    first, second, _ = prompt.splitlines()
    return first.split("Keep these names as they are: ")[1].split(" ; "), second.removeprefix(
        "Sentence: "
    )


def obliging(request: Request) -> Any:
    """Writes a new sentence around all names; invents and labels those of ``ner_teacher``."""
    if isinstance(request, ScoreRequest):
        said = type_of(scored_mention(request.prompt)[1])
        return [
            -0.1 if word == said else -4.0 for word in (*(label.word for label in TYPES), "none")
        ]
    rng = random.Random(request.seed)
    if "/" in request.id:
        word = next(
            word for word, said in DESCRIPTIONS.items() if f"names of {said}:" in request.prompt
        )
        return " " + make_name(word, rng)
    return (
        f" {' and '.join(names_and_sentence(request.prompt)[0])} {' '.join(rng.sample(WORDS, 9))} ."
    )


def settings(**changes: Any) -> dict[str, Any]:
    kept = {
        key: value
        for key, value in shipped("method", "llm_da").items()
        if key not in ("_target_", "training", "allow_codes")
    }
    return {**kept, "n_texts": 16, **changes}


def labeller(task: Task, teacher: Teacher, demonstrations: Sequence[Example]) -> SpanVerifier:
    return SpanVerifier(
        teacher,
        task.labels,
        prompt_set("completion_ner"),
        demonstrations,
        NoCalibration(),
        SpanCandidates(),
    )


def set_up(
    folder: Path, script: Any = obliging, recorded: RecordedProgress | None = None, **changes: Any
) -> tuple[LLMDA, WordTeacher]:
    teacher = WordTeacher(script)
    method = llm_da(
        prompts=prompt_set("completion_ner"),
        acceptance=LabelAgreement(),
        new_labeller=labeller,
        **settings(**changes),
    )
    method.setup(
        context(folder, teacher, task=NER, shots=SHOTS, dev=(), held_out=(), recorded=recorded)
    )
    return method, teacher


def grown(
    folder: Path, script: Any = obliging, round: int = 1, **changes: Any
) -> tuple[WordTeacher, Growth]:
    method, teacher = set_up(folder, script, **changes)
    return teacher, method.next_rows(NOTHING, round)


def names_of(row: Row) -> list[tuple[str, str]]:
    return mentions_of(row.text, row.target)


def shot_of(row: Row) -> Example:
    return next(shot for shot in SHOTS if row.parents == (f"gold-{shot.id}",))


def types_of(shot: Example) -> list[str]:
    return [type for _, type in mentions_of(shot.text, shot.label or "")]
