"""Names of generated NER sentences: their sources, and the draw for one sentence."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.classification import WordTeacher, prompt_set
from tests.helpers.ner import SHOTS, TYPES, marked

from tutelage.errors import ConfigError
from tutelage.methods.generation.entity_names import Name, NameBook, Picker
from tutelage.methods.generation.mentions import mentions_of
from tutelage.records import Example, Outcome, Row
from tutelage.tasks.protocol import Mistake
from tutelage.teacher.base import Reply


def book(invented: float = 0.5, shots: Sequence[Example] = SHOTS, max_words: int = 6) -> NameBook:
    return NameBook(TYPES, shots, prompt_set("completion_ner"), invented, max_words)


def invented(*replies: str, **settings: Any) -> list[str]:
    """The names of persons that come of the teacher's replies."""
    said = iter(replies)
    names, asked, failed = book(**settings).invent(
        WordTeacher(lambda request: next(said)), {"PER": len(replies)}, 1, 1, None
    )
    assert (asked, failed, names["LOC"], names["ORG"]) == (len(replies), 0, [], [])
    return names["PER"]


def row(text: str, names: dict[str, str], source: Any = "easy", accepted: bool = True) -> Row:
    return Row(f"row {text}", text, marked(text, names).label or "", source, 1, accepted)


def picks(picker: Picker, type: str, kind: str = "easy", count: int = 200) -> list[str]:
    rng = random.Random(1)
    return [picker.pick(type, kind, rng).words for _ in range(count)]


def test_mentions_of_a_marking() -> None:
    assert mentions_of(SHOTS[0].text, SHOTS[0].label or "") == [
        ("Grace Hopper", "PER"),
        ("Navy", "ORG"),
    ]
    assert mentions_of("nothing", "[]") == []


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_zero_to_one_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=rf"method.invented_names={share} must be in \[0, 1\]"):
        book(share)


def test_requests_are_one_a_brief_with_the_shots_names_above() -> None:
    requests = book().requests({"LOC": 2, "PER": 1}, seed=1, round=3)
    assert [request.id for request in requests] == ["PER/0", "LOC/0", "LOC/1"]
    assert (
        requests[1].prompt
        == requests[2].prompt
        == "A random list of names of places:\n- Bern\n- Rome\n-"
    )
    assert len({request.seed for request in requests}) == 3
    (sampling,) = {request.sampling for request in requests}
    assert (sampling.temperature, sampling.stop) == (1.0, ("\n",))


def test_seeds_follow_from_seed_round_type_and_number_alone() -> None:
    first = book().requests({"PER": 2}, seed=1, round=3)
    assert first == book().requests({"PER": 2}, seed=1, round=3)
    assert first[0] == book().requests({"PER": 1, "LOC": 4}, seed=1, round=3)[0]
    others = [book().requests({"PER": 1}, seed, round)[0].seed for seed, round in ((2, 3), (1, 4))]
    assert len({first[0].seed, *others}) == 3


def test_at_most_three_names_are_shown_and_none_twice() -> None:
    shots = [marked(f"{name} spoke", {name: "PER"}) for name in ("Ann", "Ann", "Bob", "Cyd", "Dot")]
    (request,) = book(
        shots=[Example(f"{n}", shot.text, shot.label) for n, shot in enumerate(shots)]
    ).requests({"PER": 1}, 1, 1)
    assert request.prompt.splitlines()[1:] == ["- Ann", "- Bob", "- Cyd", "-"]


def test_a_type_without_shots_is_asked_for_by_its_description() -> None:
    (request,) = book(shots=()).requests({"ORG": 1}, 1, 1)
    assert request.prompt == "A random list of names of organizations:\n-"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (" Alan Turing", "Alan Turing"),
        ("2. Alan Turing", "Alan Turing"),
        ('"Alan Turing"', "Alan Turing"),
        ("Alan Turing - a mathematician", "Alan Turing"),
        ('"Alan Turing" - a mathematician', "Alan Turing"),
        ("Alan Turing (1912)", "Alan Turing"),
        ("Alan Turing, a mathematician", "Alan Turing"),
        ("Alan Turing: mathematician; codebreaker", "Alan Turing"),
        ("Alan Turing\n5. Kurt Gödel", "Alan Turing"),
        ("Jean-Luc O'Neil", "Jean-Luc O'Neil"),
        ("Yahoo!", "Yahoo !"),
        ("van Gogh", "van Gogh"),
        ("Alan Turing:", "Alan Turing"),
        ("</think> Alan Turing", "Alan Turing"),
        ("Sure! Here is another name: Alan Turing", "Alan Turing"),
        ('{"name": "Alan Turing"}', "Alan Turing"),
        ("**Alan Turing**", "Alan Turing"),
        ("Assistant: Alan Turing<|eot_id|>", "Alan Turing"),
    ],
)
def test_a_name_is_cut_out_of_the_reply(said: str, name: str) -> None:
    assert invented(said) == [name]


@pytest.mark.parametrize("said", ["As an AI, I cannot name anyone", "Sure! Here you go", "<think>"])
def test_a_reply_without_a_name_gives_none(said: str) -> None:
    assert invented(said) == []


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_any_reply_is_a_short_name_or_none(said: str) -> None:
    for name in invented(said):
        assert 0 < len(name.split(" ")) <= 6


@pytest.mark.parametrize(
    "said", ["", " \n", "...", "someone", "(Alan)", "One Two Three Four Five Six Seven"]
)
def test_what_is_no_name_is_left_out(said: str) -> None:
    assert invented(said) == []


def test_longer_names_on_request() -> None:
    assert invented("One Two Three", max_words=3) == ["One Two Three"]
    assert invented("One Two Three", max_words=2) == []


def test_names_are_different_and_failures_counted() -> None:
    replies = {
        "PER/0": "Ann",
        "PER/1": "Ann",
        "LOC/0": "Ann",
        "LOC/1": Reply("LOC/1", error="lost"),
    }
    heard: list[Reply] = []
    found = book().invent(
        WordTeacher(lambda request: replies[request.id]), {"PER": 2, "LOC": 2}, 1, 1, heard.append
    )
    assert found == ({"PER": ["Ann"], "LOC": ["Ann"], "ORG": []}, 4, 1)
    assert len(heard) == 4


def test_each_invented_name_is_used_once_and_then_the_known_ones() -> None:
    picker = book(invented=1.0).picker({"LOC": ["Oslo", "Lima"]}, ())
    drawn = picks(picker, "LOC")
    assert set(drawn[:2]) == {"Oslo", "Lima"}
    assert set(drawn[2:]) == {"Bern", "Rome"}


def test_the_given_names_are_not_used_up() -> None:
    new = {"LOC": ["Oslo", "Lima"]}
    picks(book(invented=1.0).picker(new, ()), "LOC")
    assert new == {"LOC": ["Oslo", "Lima"]}


def test_the_share_of_invented_names() -> None:
    assert set(picks(book(invented=0.0).picker({"LOC": ["Oslo"]}, ()), "LOC")) == {"Bern", "Rome"}
    many = [f"Town{n}" for n in range(1000)]
    drawn = picks(book(invented=0.25).picker({"LOC": many}, ()), "LOC", count=1000)
    assert 200 < sum(name.startswith("Town") for name in drawn) < 300


def test_accepted_rows_give_names_and_rejected_and_gold_ones_do_not() -> None:
    pool = [
        row("see Oslo", {"Oslo": "LOC"}),
        row("see Lima", {"Lima": "LOC"}, accepted=False),
        row("see Cairo", {"Cairo": "LOC"}, source="gold"),
    ]
    assert set(picks(book(invented=0.0).picker({}, pool), "LOC")) == {"Bern", "Rome", "Oslo"}


def test_half_of_the_hard_texts_are_about_what_the_student_got_wrong() -> None:
    picker = book(invented=0.0).picker({}, (), [Mistake("LOC", "", "Lima")])
    drawn = picks(picker, "LOC", "hard", count=1000)
    assert 450 < drawn.count("Lima") < 550
    assert set(drawn) == {"Lima", "Bern", "Rome"}
    assert "Lima" not in picks(picker, "LOC", "easy")
    assert "Lima" not in picks(picker, "PER", "hard")


def test_words_wrongly_marked_as_a_name_are_drawn_as_no_name_of_that_type() -> None:
    pool = [row("see Oslo", {"Oslo": "LOC"})]
    doubtful = ["Bern", "Oslo", "Nils", ", .", "", "one two three four five six seven"]
    mistakes = [Mistake("", "PER", words) for words in ("Monday", *doubtful)]
    picker, rng = book(invented=0.0).picker({"PER": ["Nils"]}, pool, mistakes), random.Random(1)
    drawn = {picker.pick("PER", "hard", rng) for _ in range(100)}
    assert drawn == {Name("Monday", "O"), Name("Grace Hopper", "PER")}
    assert "Monday" not in [*picks(picker, "PER", "easy"), *picks(picker, "LOC", "hard")]


def outcome(text: str, target: dict[str, str], predicted: dict[str, str]) -> Outcome:
    said = [marked(text, names).label or "" for names in (target, predicted)]
    return Outcome("1", text, said[0], said[1], (1.0,), "easy", 1)


def test_known_names_of_easy_texts_are_those_that_the_student_got_right() -> None:
    outcomes = [
        outcome("Ada saw Oslo", {"Ada": "PER", "Oslo": "LOC"}, {"Oslo": "LOC"}),
        outcome(
            "Lima met Kew Green", {"Lima": "LOC", "Kew Green": "LOC"}, {"Lima": "ORG", "Kew": "LOC"}
        ),
    ]
    pool = [row("see Cairo", {"Cairo": "LOC"})]
    picker = book(invented=0.0).picker({}, pool, (), outcomes)
    assert set(picks(picker, "LOC", "easy")) == {"Oslo"}
    assert (
        set(picks(picker, "LOC", "hard"))
        == set(picks(picker, "LOC", "init"))
        == {"Bern", "Rome", "Cairo"}
    )
    # Of persons it got none right.
    assert set(picks(picker, "PER", "easy")) == {"Grace Hopper"}
    drawn = picks(
        book(invented=0.25).picker({"LOC": [f"Town{n}" for n in range(1000)]}, pool, (), outcomes),
        "LOC",
        count=1000,
    )
    assert 200 < sum(name.startswith("Town") for name in drawn) < 300
    assert "Oslo" in drawn
    assert not {"Bern", "Rome", "Cairo"} & set(drawn)


def test_without_any_name_there_is_none() -> None:
    assert picks(book(shots=()).picker({}, ()), "LOC", count=3) == ["", "", ""]
    assert (
        picks(book(invented=0.0, shots=()).picker({"LOC": ["Oslo"]}, ()), "LOC", count=3)
        == ["Oslo"] * 3
    )
    assert picks(book(invented=1.0, shots=()).picker({"LOC": ["Oslo"]}, ()), "LOC", count=2) == [
        "Oslo",
        "Oslo",
    ]


def test_the_same_chance_draws_the_same_names() -> None:
    new = {"PER": ["Ann", "Bob", "Cyd"]}
    assert picks(book().picker(new, ()), "PER") == picks(book().picker(new, ()), "PER")


def chat_book(shots: Sequence[Example] = SHOTS, per_request: int = 8) -> NameBook:
    return NameBook(TYPES, shots, prompt_set("chat_ner"), 0.5, per_request=per_request)


def listed(*names: str, **more: Any) -> Reply:
    return Reply("0", text=json.dumps({"names": names}), **more)


def test_a_chat_asks_for_lists_of_names() -> None:
    subject = chat_book(per_request=4)
    requests = subject.requests({"PER": 6, "LOC": 1}, seed=1, round=3)
    assert [request.id for request in requests] == ["PER/0", "PER/4", "LOC/0"]
    assert len(requests) == subject.request_count({"PER": 6, "LOC": 1})
    most = [json.loads(one.json_schema)["properties"]["names"]["maxItems"] for one in requests]
    assert most == [4, 2, 1]
    assert "Write 4 new ones" in str(requests[0].prompt)
    assert requests[0].sampling.stop == ()
    names, asked, failed = subject.invent(
        WordTeacher(lambda request: listed("Ada Lovelace", "1. Alan Turing", "Ada Lovelace")),
        {"PER": 6},
        1,
        3,
        None,
    )
    assert (names["PER"], asked, failed) == (["Ada Lovelace", "Alan Turing"], 2, 0)


def test_a_lost_list_of_names_is_one_failed_request() -> None:
    for reply, failed in ((Reply("0", error="lost"), 1), (Reply("0", text="no JSON"), 0)):
        teacher = WordTeacher(lambda request, reply=reply: reply)
        found = chat_book().invent(teacher, {"PER": 6}, 1, 3, None)
        assert found == ({"PER": [], "LOC": [], "ORG": []}, 1, failed)


def test_names_need_capitals_only_where_those_of_the_shots_have_them() -> None:
    def said(*shots: Example) -> list[str]:
        teacher = WordTeacher(lambda request: listed("aspirin", "王小明", "42", "Zoë"))
        return chat_book(shots).invent(teacher, {"PER": 4}, 1, 1, None)[0]["PER"]

    assert said() == ["王 小 明", "Zoë"]
    assert said(marked("it was ibuprofen", {"ibuprofen": "PER"})) == ["aspirin", "王 小 明", "Zoë"]
