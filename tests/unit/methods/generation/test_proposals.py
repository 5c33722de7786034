"""Proposals: the student is asked about texts to label, if the labeller uses its answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.helpers.classification import context, prompt_set
from tests.helpers.methods import pool_labelling
from tests.helpers.ner import TYPES, knowing, marked, spans, verifier

from tutelage.data.dedup import Deduplicator
from tutelage.labelling.base import Draft
from tutelage.methods.base import Cost
from tutelage.methods.generation.acceptance import Acceptance, with_proposals
from tutelage.methods.generation.specs import Candidate, GenerationSpec
from tutelage.methods.generation.writer import Writer
from tutelage.records import Feedback
from tutelage.selectors.acceptance import LabelAgreement
from tutelage.selectors.uncertainty_sampling import RandomChoice
from tutelage.teacher.base import Sampling

BOTH = ("capitals", "student")
DRAFTS = [Draft("see acme", spans((0, 1, "PER"))), Draft("rest")]


def seeing(looks: list[Any]) -> Any:
    """A look of a student that sees a name in every second word."""

    def view_pool(texts: list[str], learnt: list[str]) -> Any:
        looks.append((list(texts), list(learnt)))
        return SimpleNamespace(
            texts=texts, proposed=lambda: [((1, 2),) if " " in text else () for text in texts]
        )

    return view_pool


@pytest.mark.parametrize(
    ("round", "sources", "asked"), [(1, BOTH, True), (0, BOTH, False), (1, BOTH[:1], False)]
)
def test_the_student_is_asked_once_it_has_learnt_where_it_is_a_source(
    tmp_path: Path, round: int, sources: Any, asked: bool
) -> None:
    looks: list[Any] = []
    subject, teacher = verifier(knowing(), sources=sources)
    made = with_proposals(
        DRAFTS, subject, context(tmp_path, teacher, view_pool=seeing(looks)), round
    )
    assert [draft.proposed for draft in made] == ([((1, 2),), ()] if asked else [(), ()])
    assert [(draft.text, draft.mentions) for draft in made] == [
        (draft.text, draft.mentions) for draft in DRAFTS
    ]
    assert looks == ([(["see acme", "rest"], [])] if asked else [])


def test_a_pool_is_labelled_with_the_students_places_from_round_1_on(tmp_path: Path) -> None:
    looks: list[Any] = []
    subject, teacher = verifier(knowing({"acme": "ORG"}), sources=BOTH)
    settings = {"pool_size": None, "first": 1, "rounds": 1, "n_texts": 1, "train_on_shots": False}
    method = pool_labelling(None, RandomChoice(), lambda *_: subject, name="llkd", **settings)
    texts = (marked("met acme"), marked("at acme"))
    method.setup(
        context(
            tmp_path,
            teacher,
            unlabelled=texts,
            shots=(),
            dev=(),
            held_out=(),
            view_pool=seeing(looks),
        )
    )
    first = method.first_rows()
    assert [row.target for row in first.rows] == ["[]"]
    assert looks == []
    method._context.pool.append(first.rows)
    (row,) = method.next_rows(Feedback(0, (), {}), 1).rows
    assert row.target == '[[1, 2, "ORG"]]'


def test_a_generated_text_is_labelled_with_the_students_places_too(tmp_path: Path) -> None:
    subject, teacher = verifier(knowing({"acme": "ORG"}), sources=BOTH)
    writer = Writer(prompt_set("completion_ner"), Sampling())
    text = Candidate(
        GenerationSpec(TYPES[0], "hard", ()), "met acme", "", False, 0, spans((0, 1, "PER"))
    )
    here = context(tmp_path, teacher, view_pool=seeing([]))
    (row,) = (
        Acceptance(subject, LabelAgreement(agreement=False), Deduplicator(0.9))
        .grow(here, [text], writer, 1, Cost())
        .rows
    )
    assert '[1, 2, "ORG"]' in row.target


@pytest.mark.parametrize(("round", "asks"), [(0, True), (2, False), (2, True)])
def test_classes_come_with_the_student_s_most_probable_ones(
    tmp_path: Path, round: int, asks: bool
) -> None:
    seen = np.array([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    subject: Any = SimpleNamespace(is_token_level=False, asks_student=asks)
    view = SimpleNamespace(probabilities=lambda: seen)
    drafts = with_proposals(
        [Draft("one"), Draft("two")],
        subject,
        context(tmp_path, None, view_pool=lambda texts, learnt: view),
        round,
    )
    wanted = [("Food", "Tool", "Animal"), ("Animal", "Tool", "Food")]
    assert [draft.likely for draft in drafts] == (wanted if round and asks else [(), ()])
