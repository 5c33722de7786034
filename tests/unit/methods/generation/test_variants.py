"""Variants of marked sentences: each mode keeps every entity, or the text is rejected."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.augmentation import (
    NER,
    NOTHING,
    SHOTS,
    grown,
    labeller,
    names_and_sentence,
    names_of,
    obliging,
    set_up,
    shot_of,
    types_of,
)
from tests.helpers.classification import WordTeacher, context, evokd_settings, prompt_set
from tests.helpers.methods import evokd

from tutelage.methods.generation.mentions import find_mentions, mentions_of
from tutelage.methods.generation.variants import Marked, noised, renamed
from tutelage.records import Growth, Row
from tutelage.selectors.acceptance import LabelAgreement
from tutelage.tasks.spans import Span
from tutelage.teacher.base import Request, ScoreRequest


def test_a_rewrite_keeps_every_entity_at_every_new_place(tmp_path: Path) -> None:
    def twice(request: Request) -> str:
        return f" {obliging(request).strip()} {names_and_sentence(request.prompt)[0][0]}"  # type: ignore[union-attr]

    _, growth = grown(tmp_path, twice, modes=["rewrite"])
    for row in growth.rows:
        shot = shot_of(row)
        assert set(names_of(row)) == set(mentions_of(shot.text, shot.label or ""))
        assert max(Counter(names_of(row)).values()) == 2
        assert row.accepted
        assert row.detail["strategy"] in prompt_set("completion_ner").strategies
        assert row.detail["prompt"] == prompt_set("completion_ner").version("rewrite")


def test_a_rewrite_that_lost_an_entity_is_rejected_with_its_name(tmp_path: Path) -> None:
    _, growth = grown(
        tmp_path,
        lambda request: " so Clara Dunes left Old Grove and Royal Pier for ever .",
        modes=["rewrite"],
    )
    reasons = {
        shot_of(row).text[:5]: row.reason for row in growth.rows if "did not survive" in row.reason
    }
    assert reasons == {
        "then ": "'Clara Dune' did not survive",
        "Royal": "'Hugo Heath' did not survive",
    }
    assert any(names_of(row) == [("Old Grove", "LOC")] for row in growth.rows if row.accepted)


def test_replacement_gives_every_entity_another_name_of_its_type(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, modes=["replace"], invented_names=1.0)
    assert {"/" in request.id for request in teacher.generations()} == {True}
    for row in growth.rows:
        shot = shot_of(row)
        before, after = mentions_of(shot.text, shot.label or ""), names_of(row)
        assert [type for _, type in after] == types_of(shot)
        assert not {name for name, _ in before} & {name for name, _ in after}
        assert "prompt" not in row.detail
        assert "strategy" not in row.detail
        restored = renamed(
            Marked("", row.text, find_spans(row)),
            dict(zip(after, [name for name, _ in before], strict=True)),
        )
        assert restored.text == shot.text
    assert sum(row.accepted for row in growth.rows) > 8


def find_spans(row: Row) -> tuple[Span, ...]:
    return tuple(find_mentions(row.text, names_of(row))[0])


def test_without_another_name_a_sentence_is_rejected(tmp_path: Path) -> None:
    method, teacher = set_up(tmp_path, modes=["replace"], invented_names=0.0)
    growth = method.next_rows(NOTHING, 1)
    assert not method.asks_teacher
    assert teacher.asked == []
    assert {row.reason for row in growth.rows if "Royal" in row.text} == {
        "no other name for 'Royal Pier'"
    }
    assert growth.asked == growth.answered == 0


def test_both_rewrites_what_was_replaced(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, modes=["both"])
    gold = {name for shot in SHOTS for name, _ in mentions_of(shot.text, shot.label or "")}
    asked = [request for request in teacher.generations() if "/" not in request.id]
    assert len(asked) > 12
    for request, row in zip(asked, growth.rows[: len(asked)], strict=True):
        names, sentence = names_and_sentence(request.prompt)
        own = [name for name, _ in mentions_of(shot_of(row).text, shot_of(row).label or "")]
        assert not set(names) & set(own)
        assert all(name in sentence for name in names)
        assert {type for _, type in names_of(row)} == set(types_of(shot_of(row)))
        assert set(names) == {name for name, _ in names_of(row)}
    assert {name for row in growth.rows for name, _ in names_of(row)} - gold


def test_noise_leaves_the_entities_alone(tmp_path: Path) -> None:
    method, teacher = set_up(tmp_path, modes=["noise"], n_texts=30)
    growth = method.next_rows(NOTHING, 1)
    assert not method.asks_teacher
    assert teacher.asked == []
    for row in growth.rows:
        assert names_of(row) == mentions_of(shot_of(row).text, shot_of(row).label or "")
        assert row.text != shot_of(row).text
    assert sum(row.accepted for row in growth.rows) > 10


@given(
    st.lists(
        st.sampled_from(["word", "a", "Straße", "NASA", "12", ",", "über", "ooo"]),
        min_size=1,
        max_size=12,
    ),
    st.integers(0, 11),
    st.integers(1, 3),
    st.floats(0.05, 1),
    st.integers(),
)
def test_noise_is_outside_whatever_the_sentence(
    words: list[str], start: int, length: int, share: float, seed: int
) -> None:
    start = min(start, len(words) - 1)
    span = Span(start, min(start + length, len(words)), "PER")
    text = " ".join(words)
    made = noised(Marked("", text, (span,)), share, random.Random(seed))
    if made is None:
        assert not any(
            word.isalpha() for index, word in enumerate(words) if not span.start <= index < span.end
        )
        return
    (kept,) = made.spans
    changed = made.text.split(" ")
    assert changed[kept.start : kept.end] == words[span.start : span.end]
    assert "" not in changed
    assert made.text.casefold() != text.casefold()


def test_a_name_inside_a_longer_one_has_not_survived() -> None:
    wanted = [("Paris", "LOC"), ("Paris Hilton", "PER")]
    assert find_mentions("Paris Hilton sang", wanted) == ([Span(0, 2, "PER")], ["Paris"])
    assert find_mentions("Paris Hilton left Paris", wanted) == (
        [Span(0, 2, "PER"), Span(3, 4, "LOC")],
        [],
    )


def of_the_shots(folder: Path, script: Any, **changes: Any) -> tuple[WordTeacher, Growth]:
    """The first rows of EvoKD with +Init."""
    teacher = WordTeacher(script)
    method = evokd(
        prompts=prompt_set("completion_ner"),
        acceptance=LabelAgreement(),
        new_labeller=labeller,
        **evokd_settings(**changes),
    )
    method.setup(context(folder, teacher, task=NER, shots=SHOTS, dev=(), held_out=()))
    return teacher, method.first_rows()


@pytest.mark.parametrize("separated", [False, True])
def test_evokd_s_first_texts_are_these_variants_and_only_those_that_keep_every_entity(
    tmp_path: Path, separated: bool
) -> None:
    def script(request: Request) -> Any:
        return (
            " so nobody was left there for many years ." if request.id == "0" else obliging(request)
        )

    teacher, growth = of_the_shots(tmp_path, script, n_init=17, separated=separated)
    rows = [row for row in growth.rows if row.source == "init"]
    assert Counter(row.detail["mode"] for row in rows) == {"rewrite": 6, "replace": 6, "both": 5}
    assert [row.reason.split("' ")[1] for row in rows if not row.accepted] == ["did not survive"]
    for row in (row for row in rows if row.accepted):
        shot = shot_of(row)
        before, after = set(mentions_of(shot.text, shot.label or "")), set(names_of(row))
        assert Counter(type for _, type in after) == Counter(type for _, type in before)
        assert (after == before) == (row.detail["mode"] == "rewrite")
        assert (row.distribution is not None) == separated
    assert len({row.detail["strategy"] for row in rows if row.detail["mode"] == "rewrite"}) > 2
    assert growth.asked == growth.answered == len(teacher.asked)


@pytest.mark.parametrize("separated", [False, True])
def test_evokd_s_paraphrases_keep_every_entity_of_the_shot(tmp_path: Path, separated: bool) -> None:
    def script(request: Request) -> Any:
        if isinstance(request, ScoreRequest):
            return obliging(request)
        names = request.prompt.splitlines()[0].removeprefix("Names: ").split(" ; ")
        return f" once {' or '.join(names[: 1 if request.id == '0' else None])} {request.seed} ."

    _, growth = of_the_shots(tmp_path, script, n_init=3, init="paraphrase", separated=separated)
    lost, *kept = (row for row in growth.rows if row.source == "init")
    assert lost.reason == "'Lake Quay' did not survive"
    for row in kept:
        assert row.accepted
        assert set(names_of(row)) == set(mentions_of(shot_of(row).text, shot_of(row).label or ""))
