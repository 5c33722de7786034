"""NER sentences that are written around several names (``method.names_a_text``)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tests.helpers.classification import WordTeacher, context
from tests.helpers.ner import TYPES, marked, scored_mention
from tests.helpers.ner_teacher import type_of
from tests.unit.methods.naming import (
    LEADS,
    MISSED,
    RIGHT,
    SHOTS,
    TASK,
    feedback,
    grown,
    method,
    obliging,
    seen,
    sentences,
)

from tutelage.methods.generation.mentions import mentions_of
from tutelage.teacher.base import Request, ScoreRequest

LINKS = ("and", "of", "was seen with")


def several(teacher: WordTeacher) -> list[list[str]]:
    """The names of every sentence that was asked for, from its opening."""
    found = []
    for _, opening in sentences(teacher):
        named = opening.removeprefix(
            next(lead for lead in reversed(LEADS) if opening.startswith(lead))
        ).strip()
        for link in LINKS:
            named = named.replace(f" {link} ", "|")
        found.append(named.split("|"))
    return found


def test_a_text_may_be_written_around_several_names_and_the_query_says_what_the_further_ones_are(
    tmp_path: Path,
) -> None:
    teacher, growth = grown(tmp_path, links=LINKS, names_a_text=3, n_hard=30, n_easy=30)
    names = several(teacher)
    assert {len(some) for some in names} == {1, 2, 3}
    assert all(len(set(some)) == len(some) for some in names)
    asked = {scored_mention(request.prompt) for request in teacher.scorings()}
    for row, some in zip(growth.rows, names, strict=True):
        if row.accepted:
            marks = mentions_of(row.text, row.target)
            assert [name for name, _ in marks] == some
            assert marks[0][1] == row.asked
            # The teacher of these tests knows every name, whatever it was invented as.
            assert all(type == teacher_says(name) for name, type in marks[1:] if type != row.asked)
            assert {(row.text, name) for name in some} <= asked
    further = Counter(
        type
        for row in growth.rows
        if row.accepted
        for _, type in mentions_of(row.text, row.target)[1:]
    )
    assert len(further) == 3


def teacher_says(name: str) -> str:
    (type,) = [
        label.name
        for label in TYPES
        if label.word == ("place" if name in MISSED else type_of(name))
    ]
    return type


def test_a_further_name_that_is_none_to_the_query_is_not_marked(tmp_path: Path) -> None:
    def doubting(request: Request) -> Any:
        if isinstance(request, ScoreRequest):
            text, mention = scored_mention(request.prompt)
            if not any(text.startswith(f"{lead} {mention}".strip()) for lead in LEADS):
                return [-4.0, -4.0, -4.0, -0.1]
        return obliging(request)

    _, growth = grown(tmp_path, script=doubting, links=LINKS, names_a_text=3, n_hard=30)
    accepted = [row for row in growth.rows if row.accepted]
    assert sum(any(f" {link} " in row.text for link in LINKS) for row in accepted) > 10
    for row in accepted:
        ((name, type),) = mentions_of(row.text, row.target)
        assert any(row.text.startswith(f"{lead} {name}".strip()) for lead in LEADS)
        assert type == row.asked


def test_without_separation_every_name_is_marked_as_what_it_was_drawn_for(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, links=LINKS, names_a_text=3, n_hard=30, separated=False)
    assert teacher.scorings() == []
    for row, some in zip(growth.rows, several(teacher), strict=True):
        marks = mentions_of(row.text, row.target)
        assert [name for name, _ in marks] == some
        assert marks[0][1] == row.asked
        assert all(teacher_says(name) == type for name, type in marks)


def test_a_further_name_is_asked_about_though_no_rule_finds_it(tmp_path: Path) -> None:
    """Capitalised runs are the candidates, and gold names may have no capital."""
    small = (
        marked("then clara dune left", {"clara dune": "PER"}),
        marked("near lake quay", {"lake quay": "LOC"}),
        SHOTS[2],
    )
    teacher, one = (
        WordTeacher(obliging),
        method(links=LINKS, names_a_text=3, n_hard=0, n_easy=40, invented_names=0.0),
    )
    one.setup(context(tmp_path, teacher, task=TASK, shots=small, dev=(), held_out=()))
    rows = one.next_rows(one.aimed_at(feedback([])), 1).rows
    asked = {scored_mention(request.prompt) for request in teacher.scorings()}
    openings = several(teacher)
    assert {name for some in openings for name in some[1:]} == {
        "clara dune",
        "lake quay",
        "Royal Pier",
    }
    for row, some in zip(rows, openings, strict=True):
        if not row.reason or row.distribution is not None:
            assert {(row.text, name) for name in some} <= asked


def test_as_many_names_are_invented_as_texts_take(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, links=LINKS, names_a_text=3, n_hard=30, n_easy=30)
    asked = Counter(
        request.id.split("/")[0] for request in teacher.generations() if "/" in request.id
    )
    # A text takes two on average: its own, of the type asked for, and another one of any type.
    assert asked == {
        name: Counter(row.asked for row in growth.rows)[name] + 20 for name in ("PER", "LOC", "ORG")
    }
    planned = method(names_a_text=3, n_hard=30, n_easy=30)
    planned.setup(context(tmp_path / "plan", teacher, task=TASK, shots=SHOTS, dev=(), held_out=()))
    assert planned.requests_a_round()["names"] == sum(asked.values())


def test_a_hard_prompt_with_further_names_does_not_say_what_it_is_not_about(tmp_path: Path) -> None:
    taken = [seen(n, "Avalon", "LOC", "ORG") for n in range(3)]
    teacher, _ = grown(tmp_path, feedback([*RIGHT, *taken]), links=LINKS, names_a_text=2, n_hard=60)
    hard = [
        (request.prompt, some)
        for request, some in zip(_texts(teacher), several(teacher), strict=True)
        if ", with " in request.prompt
    ]
    assert any(", not " in prompt for prompt, some in hard if len(some) == 1)
    assert not any(", not " in prompt for prompt, some in hard if len(some) > 1)


def _texts(teacher: WordTeacher) -> list[Any]:
    return [request for request in teacher.generations() if request.id.isdigit()]
