"""Several teachers behind one budget: each request reaches its own, and all tokens count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.doubles import ScriptedTeacher

from tutelage.errors import BudgetExhausted, TeacherError
from tutelage.teacher.base import GenerateRequest, Reply, Request, Sampling, ScoreRequest
from tutelage.teacher.stack import Stack, build_teacher
from tutelage.teacher.wrappers.routing import NamedTeacher, others_of


class Engine(ScriptedTeacher):
    """Answers with its name; records when it hands its memory over."""

    def __init__(self, name: str, log: list[str] | None = None) -> None:
        super().__init__(lambda request: f"{name} of {request.prompt}", f"engine:{name}")
        self._name, self._log = name, [] if log is None else log
        self.notes = (f"I am {name}",)

    def ask(self, requests: Sequence[Request], on_reply: Any = None) -> list[Reply]:
        self._log.append(f"{self._name} asked")
        return super().ask(requests, on_reply)

    def tokenize(self, texts: Sequence[Any]) -> list[list[int]]:
        return [[len(self._name), len(str(text))] for text in texts]

    def hand_over(self) -> None:
        self._log.append(f"{self._name} rests")


def request(id: str, teacher: str = "", prompt: str = "p") -> GenerateRequest:
    return GenerateRequest(id, prompt, Sampling(), teacher=teacher)


def stack(log: list[str] | None = None, **given: Any) -> Stack:
    engines = {name: Engine(name, log) for name in ("one", "two", "three")}
    return build_teacher(engines.pop("one"), others=engines, **given)


MIXED = [request("a", "two"), request("b"), request("c", "three"), request("d", "two", "q")]


def test_each_request_reaches_its_teacher_and_replies_keep_the_order() -> None:
    seen: list[str] = []
    replies = stack().teacher.ask(MIXED, lambda reply: seen.append(reply.id))
    assert [(one.id, one.text) for one in replies] == [
        ("a", "two of p"),
        ("b", "one of p"),
        ("c", "three of p"),
        ("d", "two of q"),
    ]
    assert sorted(seen) == ["a", "b", "c", "d"]


def test_an_id_that_occurs_twice_is_refused_whatever_the_teachers() -> None:
    with pytest.raises(ValueError, match="'a' occurs twice"):
        stack().teacher.ask([request("a"), request("a", "two")])


def test_the_tokens_of_all_teachers_are_billed_and_limited_together(tmp_path: Path) -> None:
    asked = stack(cache=tmp_path / "c.sqlite", limit_tokens=10)
    replies = asked.teacher.ask(MIXED)
    assert asked.budget.usage.billed == sum(reply.tokens for reply in replies) > 10
    with pytest.raises(BudgetExhausted):
        NamedTeacher("two", asked.teacher, asked.others["two"].teacher).ask([request("e")])
    asked.close()


def test_each_teacher_has_its_own_replies_in_the_cache_and_shares_them_with_runs_of_it_alone(
    tmp_path: Path,
) -> None:
    cache = tmp_path / "c.sqlite"
    first = stack(cache=cache)
    replies = first.teacher.ask(MIXED)
    assert not any(reply.cached for reply in replies)
    first.close()
    again = stack(cache=cache)
    known = again.teacher.ask(MIXED)
    assert [(one.id, one.text) for one in known] == [(one.id, one.text) for one in replies]
    assert all(reply.cached for reply in known)
    assert again.budget.usage.billed == first.budget.usage.billed
    again.close()
    alone = build_teacher(Engine("two"), cache=cache)
    assert [one.cached for one in alone.teacher.ask([request("x"), request("y", prompt="z")])] == [
        True,
        False,
    ]
    alone.close()


def test_the_transcript_names_the_teacher_and_each_has_a_recording(tmp_path: Path) -> None:
    asked = stack(transcript=tmp_path / "t.jsonl", record=tmp_path / "r.jsonl")
    asked.teacher.ask(MIXED)
    asked.close()
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert {line["reply"]["text"]: line["request"].get("teacher", "") for line in lines} == {
        "two of p": "two",
        "one of p": "",
        "three of p": "three",
        "two of q": "two",
    }
    for name in ("two", "three"):
        header = json.loads((tmp_path / f"r-{name}.jsonl").read_text().splitlines()[0])
        assert header["fingerprint"] == f"engine:{name}"
    assert "engine:one" in (tmp_path / "r.jsonl").read_text()


def test_a_teacher_rests_before_another_is_asked_and_none_is_changed_without_need() -> None:
    log: list[str] = []
    asked = stack(log)
    for batch in (
        [request("a")],
        [request("b"), request("c", "two")],
        [request("d"), request("e", "two")],
        [request("f", "two")],
    ):
        asked.teacher.ask(batch)
    assert log == [
        "one asked",
        "one asked",
        "one rests",
        "two asked",
        "two asked",
        "two rests",
        "one asked",
        "one rests",
        "two asked",
    ]
    log.clear()
    asked.release()
    assert sorted(log) == ["one rests", "three rests", "two rests"]


def test_a_named_teacher_has_its_own_tokens_and_fingerprint() -> None:
    asked = stack()
    named = NamedTeacher("three", asked.teacher, others_of(asked.teacher)["three"].teacher)
    assert named.tokenize(["text"]) == [[5, 4]]
    assert asked.teacher.tokenize(["text"]) == [[3, 4]]
    assert (named.fingerprint, asked.teacher.fingerprint) == ("engine:three", "engine:one")
    assert named.ask([ScoreRequest("s", "p", (1,))])[0].text == "three of p"
    named.close()
    assert asked.others["three"].engine.closed == 0  # type: ignore[attr-defined]
    asked.close()
    assert asked.others["three"].engine.closed == 1  # type: ignore[attr-defined]


def test_notes_name_the_teacher_and_every_engine_is_settled() -> None:
    asked = stack()
    assert asked.notes == ("I am one", "two: I am two", "three: I am three")
    told: list[str] = []
    engine: Any = asked.others["two"].engine
    engine.on_note = None
    engine.settle = lambda: engine.on_note("hello")
    asked.begin(told.append)
    assert told == ["two: hello"]


def test_a_cache_that_cannot_be_used_closes_every_engine(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").mkdir()
    engines = [Engine("one"), Engine("two")]
    with pytest.raises(TeacherError):
        build_teacher(engines[0], cache=tmp_path / "c.sqlite", others={"two": engines[1]})
    assert [one.closed for one in engines] == [1, 1]


def test_without_other_teachers_nothing_is_between() -> None:
    alone = build_teacher(Engine("one"))
    assert alone.inner is alone.first.teacher
    assert others_of(alone.teacher) == {}
