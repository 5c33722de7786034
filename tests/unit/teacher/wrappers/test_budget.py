from __future__ import annotations

import pytest
from tests.helpers.doubles import ScriptedTeacher

from tutelage.errors import BudgetExhausted
from tutelage.teacher.base import GenerateRequest, Reply, Sampling, ScoreRequest
from tutelage.teacher.stack import build_teacher
from tutelage.teacher.wrappers.budget import BudgetedTeacher, Usage


def request(name: str, prompt: str = "12345") -> GenerateRequest:
    return GenerateRequest(name, prompt, Sampling())


def test_billed_spent_cached_and_failed_are_told_apart():
    replies = {
        "new": Reply("new", prompt_tokens=10, completion_tokens=3),
        "cached": Reply("cached", prompt_tokens=100, completion_tokens=30, cached=True),
        "failed": Reply("failed", prompt_tokens=1000, completion_tokens=300, error="did not fit"),
    }
    teacher = BudgetedTeacher(ScriptedTeacher(lambda asked: replies[asked.id]))
    teacher.ask([request(name) for name in replies])
    assert teacher.usage == Usage(
        billed_prompt=110,
        billed_completion=33,
        spent_prompt=1010,
        spent_completion=303,
        requests=3,
        cached=1,
        failed=1,
    )
    assert (teacher.usage.billed, teacher.usage.spent) == (143, 1313)


def test_the_limit_stops_the_next_batch_and_not_this_one():
    inner = ScriptedTeacher(lambda asked: "12345")
    teacher = BudgetedTeacher(inner, limit_tokens=20)
    assert teacher.left == 20
    teacher.ask([request("a"), request("b"), request("c")])
    assert teacher.left == 0
    with pytest.raises(BudgetExhausted, match="30 tokens are billed and the limit is 20"):
        teacher.ask([request("d")])
    assert teacher.ask([]) == []
    assert len(inner.asked) == 3


def test_a_batch_that_dies_half_way_is_counted_as_far_as_it_came():
    def dies(asked):
        if asked.id == "b":
            raise RuntimeError
        return "12345"

    teacher = BudgetedTeacher(ScriptedTeacher(dies))
    with pytest.raises(RuntimeError):
        teacher.ask([request("a"), request("b")])
    assert teacher.usage.billed == 10


def test_replies_that_were_never_announced_are_counted_too():
    class Silent(ScriptedTeacher):
        def ask(self, requests, on_reply=None):
            return super().ask(requests)

    seen: list[str] = []
    teacher = BudgetedTeacher(Silent(lambda asked: "1"))
    teacher.ask([request("a")], lambda reply: seen.append(reply.id))
    assert teacher.usage.requests == 1
    assert seen == ["a"]


def test_a_resumed_run_goes_on_counting():
    first = BudgetedTeacher(ScriptedTeacher())
    first.ask([request("a")])
    second = BudgetedTeacher(ScriptedTeacher())
    second.load_state_dict(first.state_dict())
    second.ask([ScoreRequest("b", "12", (1,))])
    assert second.usage.requests == 2
    assert second.usage.billed == first.usage.billed + 3
    assert all(type(value) is int for value in first.state_dict().values())


def test_billed_tokens_do_not_depend_on_the_cache(tmp_path):
    batch = [request("a"), request("b"), request("c", "other")]
    usages = []
    for _ in range(2):
        inner = ScriptedTeacher()
        stack = build_teacher(
            inner,
            cache=tmp_path / "c.sqlite",
            record=tmp_path / "r.jsonl",
            transcript=tmp_path / "t.jsonl",
            limit_tokens=10_000,
        )
        stack.teacher.ask(batch)
        usages.append(stack.budget.usage)
        stack.close()
        assert inner.closed == 1
    assert usages[0].billed == usages[1].billed > 0
    assert usages[1].spent == 0
    assert usages[0].spent < usages[0].billed
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 6
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 3


def test_an_engine_is_closed_when_its_cache_cannot_be_opened(tmp_path):
    (tmp_path / "file").write_text("")
    inner = ScriptedTeacher()
    with pytest.raises(Exception, match="cache"):
        build_teacher(inner, cache=tmp_path / "file" / "c.sqlite")
    assert inner.closed == 1
