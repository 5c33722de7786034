"""EvoKD on NER: sentences that go on from a name, what aims them, and what is marked in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.helpers.classification import WordTeacher, context
from tests.helpers.ner import TYPES, scored_mention
from tests.helpers.ner_teacher import DESCRIPTIONS
from tests.unit.methods.naming import (
    LEADS,
    MISSED,
    RIGHT,
    SHOTS,
    TASK,
    WEAK,
    feedback,
    going_on,
    grown,
    method,
    obliging,
    seen,
    sentences,
)

from tutelage.methods.evokd.method import EvoKD
from tutelage.methods.generation.mentions import mentions_of
from tutelage.tasks.spans import Span, read_spans, write_spans
from tutelage.teacher.base import Request, ScoreRequest


def test_more_sentences_and_names_are_asked_for_the_types_whose_f1_is_low(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, n_hard=20, n_easy=20)
    assert growth.quota["LOC/hard"] > growth.quota["PER/hard"] >= 1
    assert growth.quota["LOC/easy"] > growth.quota["ORG/easy"] >= 1
    asked = Counter(row.asked for row in growth.rows)
    assert asked == Counter(
        request.id.split("/")[0] for request in teacher.generations() if "/" in request.id
    )
    assert asked["LOC"] == growth.quota["LOC/hard"] + growth.quota["LOC/easy"]
    assert sum(asked.values()) == len(sentences(teacher)) == 40


def test_the_analysis_is_told_what_was_missed(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path)
    (request,) = teacher.analyses()
    assert any(f"it missed {name} (place)" in request.prompt for name in MISSED)
    assert growth.analysis == "misses places that stand alone."
    hard = [one.prompt for one in teacher.generations() if ", with " in one.prompt]
    assert hard
    assert all("Note: misses places that stand alone." in prompt for prompt in hard)


def test_half_of_the_hard_sentences_are_written_around_what_the_student_got_wrong(
    tmp_path: Path,
) -> None:
    teacher, growth = grown(tmp_path, n_hard=120, n_easy=60)
    hard, easy = (
        [opening for kind, opening in sentences(teacher) if kind == wanted]
        for wanted in ("hard", "easy")
    )
    about_missed = [opening for opening in hard if opening.endswith(MISSED)]
    assert (len(hard), len(easy)) == (120, 60)
    assert 0.35 < len(about_missed) / growth.quota["LOC/hard"] < 0.65
    assert {opening.split(" ")[-1] for opening in about_missed} == set(MISSED)
    assert not any(opening.endswith(MISSED) for opening in easy)


def test_known_names_of_easy_sentences_are_those_that_the_student_got_right(tmp_path: Path) -> None:
    got = feedback([seen(0, "Avalon", "LOC", "LOC"), seen(1, "Xanadu", "LOC", "")])
    for aimed, expected in (("generated", {"Avalon"}), ("none", {"Quay"})):
        teacher, _ = grown(tmp_path, got, invented_names=0.0, n_easy=60, feedback=aimed)
        easy = [opening.split(" ")[-1] for kind, opening in sentences(teacher) if kind == "easy"]
        assert {name for name in easy if name in ("Quay", *MISSED)} == expected


def test_a_wrong_boundary_is_told_as_such_and_never_as_a_confusion_of_a_type_with_itself(
    tmp_path: Path,
) -> None:
    cut = [
        replace(seen(n, "Lake Quay", "LOC", "LOC"), predicted=write_spans([Span(3, 4, "LOC")]))
        for n in range(3)
    ]
    taken = [seen(n, "Avalon", "LOC", "ORG") for n in range(3)]
    for errors, confused in ((cut, set()), ([*cut, *taken], {"ORG"})):
        teacher, growth = grown(tmp_path, feedback([*RIGHT, *errors]), n_hard=30, demonstrations=2)
        assert "it marked Lake instead of Lake Quay" in teacher.analyses()[0].prompt
        hard = [request.prompt for request in teacher.generations() if ", with " in request.prompt]
        assert any(prompt.splitlines()[-1].endswith("Lake Quay") for prompt in hard)
        assert not any(
            f"with {said}, not {said}" in prompt
            for prompt in hard
            for said in DESCRIPTIONS.values()
        )
        assert {
            row.detail["confused_with"] for row in growth.rows if "confused_with" in row.detail
        } == confused


INVENTS = feedback(
    [*RIGHT, *(seen(n, name, "", "PER") for n in range(3) for name in ("Amber Tide", "Clara Dune"))]
)
"""A student that takes words for persons.

Clara Dune is one, overlooked by the teacher: a shot names her.
"""


def test_words_that_the_student_took_for_a_name_come_back_as_none(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, INVENTS, going_on(" {} Greta Heath ."), n_hard=60)
    hard = [request.prompt for request in teacher.generations() if ", with " in request.prompt]
    about = [row for row in growth.rows if row.detail.get("no_name") == "Amber Tide"]
    assert 0.3 < len(about) / growth.quota["PER/hard"] < 0.7
    assert len(
        [prompt for prompt in hard if ', with people, and "Amber Tide" is none of them:' in prompt]
    ) == len(about)
    assert not any('"Clara Dune" is none' in prompt for prompt in hard)
    kept = [row for row in about if row.accepted]
    assert kept
    for row in kept:
        assert (row.asked, row.source) == ("PER", "hard")
        assert "Amber Tide" in row.text
        assert mentions_of(row.text, row.target) == [("Greta Heath", "PER")]
        assert row.distribution is not None
        assert row.distribution.top == "O"


def test_they_do_not_where_nobody_labels_the_names_beside_them(tmp_path: Path) -> None:
    _, growth = grown(tmp_path, INVENTS, going_on(" {} Greta Heath ."), n_hard=30, separated=False)
    assert not [row for row in growth.rows if "no_name" in row.detail]


def test_where_the_teacher_takes_the_words_for_a_name_too_the_text_is_rejected(
    tmp_path: Path,
) -> None:
    def sure(request: Request) -> Any:
        if isinstance(request, ScoreRequest) and scored_mention(request.prompt)[1] == "Amber Tide":
            return [-0.1, -4.0, -4.0, -4.0]
        return obliging(request)

    _, growth = grown(tmp_path, INVENTS, sure, n_hard=20)
    about = [row for row in growth.rows if "no_name" in row.detail]
    assert about
    assert {row.reason for row in about} == {"'Amber Tide' is a name, says the labelling query"}
    assert {row.accepted for row in about} == {False}


def test_every_text_begins_with_a_lead_and_its_name(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, n_hard=20, n_easy=20)
    for row, (kind, opening) in zip(growth.rows, sentences(teacher), strict=True):
        assert row.source == kind
        assert row.text.startswith(f"{opening} ")
    leads = {
        next(lead for lead in reversed(LEADS) if opening.startswith(lead))
        for _, opening in sentences(teacher)
    }
    assert leads == set(LEADS)


def test_a_text_that_lost_its_name_is_rejected_with_the_reason_and_not_scored(
    tmp_path: Path,
) -> None:
    teacher, growth = grown(tmp_path, script=going_on("son {} years", " {} years"))
    names = [opening for _, opening in sentences(teacher)]
    lost, kept = growth.rows[::2], growth.rows[1::2]
    for row, opening in zip(lost, names[::2], strict=True):
        name = next(
            opening.removeprefix(lead).strip()
            for lead in reversed(LEADS)
            if opening.startswith(lead)
        )
        assert (row.accepted, row.reason, row.target) == (False, f"does not hold {name!r}", "[]")
        assert row.distribution is None
    assert not any("son " in scored_mention(request.prompt)[0] for request in teacher.scorings())
    assert all(row.accepted for row in kept)
    assert growth.rejected == len(lost)


def test_spans_are_the_name_s_words_at_every_place(tmp_path: Path) -> None:
    def script(request: Request) -> Any:
        if "/" in request.id and not isinstance(request, ScoreRequest) and request.id != "analysis":
            return f' "Jean-Luc O\'Neil {request.seed % 97}" - a name'
        return going_on(', old friends ({}), and "{}"!')(request)

    # What the teacher thinks of these names is no matter here.
    _, growth = grown(tmp_path, feedback([]), script, separated=False, invented_names=1.0, n_hard=0)
    spelt = 0
    for row in growth.rows:
        assert row.accepted, row.reason
        (span,) = read_spans(row.target)
        words = row.text.split(" ")
        mention = " ".join(words[span.start : span.end])
        assert span.type == row.asked
        if words[span.start] == "Jean-Luc":
            spelt += 1
            assert mention.startswith("Jean-Luc O'Neil ")
            assert span.end - span.start == 3
    assert spelt > 0


def test_a_name_that_goes_on_is_the_whole_of_it(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, script=going_on(" Park {} ."))
    asked = [scored_mention(request.prompt)[1] for request in teacher.scorings()]
    for row, (_, opening) in zip(growth.rows, sentences(teacher), strict=True):
        ((name, _),) = mentions_of(row.text, row.target)
        assert name.endswith(" Park")
        assert opening.endswith(name.removesuffix(" Park"))
        assert name in asked


def test_a_name_that_comes_twice_is_marked_twice(tmp_path: Path) -> None:
    def script(request: Request) -> Any:
        # Without a lead the opening is the name.
        return going_on(f" {{}} , and {request.prompt.splitlines()[-1].removeprefix('- ')} again")(
            request
        )

    _, growth = grown(tmp_path, script=script, leads=[""])
    for row in growth.rows:
        (first, type), second = mentions_of(row.text, row.target)
        assert second == (first, type) == (first, row.asked)
        assert row.text.count(first) == 2


def test_verify_completes_the_other_entities(tmp_path: Path) -> None:
    _, growth = grown(tmp_path, script=going_on(" {} Greta Heath near Port Amber ."))
    accepted = [row for row in growth.rows if row.accepted]
    assert len(accepted) >= 10
    for row in accepted:
        found = mentions_of(row.text, row.target)
        assert {("Greta Heath", "PER"), ("Port Amber", "LOC")} <= set(found)
        assert row.asked in {
            type for name, type in found if name not in ("Greta Heath", "Port Amber")
        }
        assert len(row.entity_confidence) == len(found)
        assert row.distribution is not None
        assert row.distribution.labels == ("PER", "LOC", "ORG", "O")


def test_without_separation_only_the_name_that_was_asked_for_is_marked(tmp_path: Path) -> None:
    teacher, growth = grown(
        tmp_path, script=going_on(" {} Greta Heath near Port Amber ."), separated=False
    )
    assert teacher.scorings() == []
    for row, (_, opening) in zip(growth.rows, sentences(teacher), strict=True):
        ((name, type),) = mentions_of(row.text, row.target)
        assert opening.endswith(name)
        assert type == row.asked
        assert row.distribution is None
        assert row.entity_confidence == ()


def test_static_generation_does_not_look_at_the_student(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, feedback([]), feedback="none")
    assert teacher.analyses() == []
    assert growth.quota == {f"{label.name}/easy": 4 for label in TYPES}
    other, _ = grown(tmp_path, WEAK, feedback="none")
    assert other.asked == teacher.asked
    shown = {shot.text for shot in SHOTS}
    for request in other.generations():
        if request.id.isdigit():
            assert any(f"- {text}\n" in request.prompt for text in shown)
            assert not any(name in request.prompt for name in MISSED)


def test_every_request_is_accounted_for(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path)
    assert growth.asked == growth.answered == len(teacher.asked)
    assert growth.failed == 0
    assert set(growth.seconds) == {"analysis", "names", "generation", "labelling"}


def test_types_are_asked_for_by_their_descriptions(tmp_path: Path) -> None:
    teacher, _ = grown(tmp_path)
    headings = {
        request.prompt.splitlines()[0] for request in teacher.generations() if "/" in request.id
    }
    assert headings == {f"A random list of names of {said}:" for said in DESCRIPTIONS.values()}


def test_a_resumed_method_grows_the_same_rows(tmp_path: Path) -> None:
    def set_up(one: EvoKD) -> Any:
        method_context = context(
            tmp_path, WordTeacher(obliging), task=TASK, shots=SHOTS, dev=(), held_out=()
        )
        one.setup(method_context)
        return method_context

    whole, resumed = method(n_init=9), method(n_init=9)
    method_context = set_up(whole)
    method_context.pool.append([*whole.first_rows().rows, *whole.next_rows(WEAK, 1).rows])
    state = whole.state_dict()
    undisturbed = whole.next_rows(whole.aimed_at(WEAK), 2)
    set_up(resumed)
    resumed.load_state_dict(state)
    again = resumed.next_rows(resumed.aimed_at(WEAK), 2)
    assert again.rows == undisturbed.rows
    assert any(row.accepted for row in again.rows)
    assert {row.id for row in again.rows}.isdisjoint(row.id for row in method_context.pool.rows)
