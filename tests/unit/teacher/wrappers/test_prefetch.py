"""What is asked ahead changes when a reply is computed, and nothing else."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.helpers.doubles import ScriptedTeacher, echo

from tutelage.errors import TeacherError
from tutelage.teacher.base import GenerateRequest, Reply, Request, Sampling
from tutelage.teacher.stack import Stack, build_teacher

WAIT = 20.0


def request(name: str, teacher: str = "") -> GenerateRequest:
    return GenerateRequest(name, f"prompt {name}", Sampling(), teacher=teacher)


def requests(*names: str) -> list[GenerateRequest]:
    return [request(name) for name in names]


def built(tmp_path: Path, engine: ScriptedTeacher, **others: ScriptedTeacher) -> Stack:
    return build_teacher(engine, cache=tmp_path / "c.sqlite", others=others, prefetch=True)


class Gate:
    """A script that answers once it is told to."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, asked: Request) -> Reply | str:
        self.begun.set()
        assert self.open.wait(WAIT)
        return echo(asked)


def test_replies_are_computed_once_and_counted_as_without_it(tmp_path: Path) -> None:
    plain = build_teacher(ScriptedTeacher(), cache=tmp_path / "plain.sqlite")
    engine = ScriptedTeacher()
    stack = built(tmp_path, engine)
    assert stack.ahead is not None
    stack.ahead.prefetch(requests("a", "b"), lambda: None)
    seen: list[Reply] = []
    # The ids of a round differ from those asked ahead; only the content matters.
    asked = [GenerateRequest("other", "prompt a", Sampling()), *requests("b", "c")]
    replies = stack.teacher.ask(asked, seen.append)
    assert [reply.cached for reply in replies] == [False] * 3
    assert sorted(seen, key=lambda one: one.id) == sorted(replies, key=lambda one: one.id)
    plain.teacher.ask(asked)
    assert stack.budget.usage == plain.budget.usage
    assert len(engine.asked) == 3
    # Asked once more, they do come from the cache.
    assert all(reply.cached for reply in stack.teacher.ask(requests("a", "b")))
    assert stack.ahead.unused == 0
    stack.close()


def test_the_engine_works_while_the_caller_goes_on_and_is_waited_for(tmp_path: Path) -> None:
    gate = Gate()
    engine = ScriptedTeacher(gate)
    stack = built(tmp_path, engine)
    assert stack.ahead is not None
    checks: list[int] = []

    def check() -> None:
        checks.append(1)
        gate.open.set()

    stack.ahead.prefetch(requests("a"), check)
    assert gate.begun.wait(WAIT)
    assert not checks
    # One thread at a time asks the engine: the batch starts after the one that was asked ahead.
    stack.teacher.ask(requests("b"))
    assert checks
    assert engine.batches == [["a"], ["b"]]
    stack.close()


def test_who_waits_can_be_stopped(tmp_path: Path) -> None:
    gate = Gate()
    stack = built(tmp_path, ScriptedTeacher(gate))
    assert stack.ahead is not None

    def stopped() -> None:
        raise KeyboardInterrupt

    stack.ahead.prefetch(requests("a", "b"), stopped)
    with pytest.raises(KeyboardInterrupt):
        stack.teacher.ask(requests("a"))
    gate.open.set()
    stack.close()


def test_closing_gives_up_what_is_still_asked_and_keeps_what_came(tmp_path: Path) -> None:
    gate = Gate()
    engine = ScriptedTeacher(gate)
    stack = built(tmp_path, engine)
    assert stack.ahead is not None
    stack.ahead.prefetch(requests("a", "b", "c"), lambda: None)
    assert gate.begun.wait(WAIT)
    closing = threading.Thread(target=stack.close)
    closing.start()
    gate.open.set()
    closing.join(WAIT)
    assert not closing.is_alive()
    assert engine.closed
    assert len(engine.asked) < 3
    again = ScriptedTeacher()
    later = build_teacher(again, cache=tmp_path / "c.sqlite")
    later.teacher.ask(requests("a"))
    assert again.asked == []


def test_an_engine_that_fails_ahead_is_asked_again_by_the_round(tmp_path: Path) -> None:
    failed: list[Request] = []

    def fails_once(asked: Request) -> Reply | str:
        if not failed:
            failed.append(asked)
            raise TeacherError("the engine died")
        return echo(asked)

    stack = built(tmp_path, ScriptedTeacher(fails_once))
    assert stack.ahead is not None
    stack.ahead.prefetch(requests("a"), lambda: None)
    assert not stack.teacher.ask(requests("a"))[0].error
    assert failed
    stack.close()


def test_what_no_round_wanted_is_told(tmp_path: Path) -> None:
    stack = built(tmp_path, ScriptedTeacher())
    assert stack.ahead is not None
    stack.ahead.prefetch(requests("a", "b"), lambda: None)
    reply = stack.teacher.ask(requests("a"))[0]
    assert stack.ahead.unused == reply.prompt_tokens + reply.completion_tokens
    assert stack.budget.usage.requests == 1
    stack.close()


def test_several_teachers_are_asked_ahead_each_for_its_own(tmp_path: Path) -> None:
    engine, other = ScriptedTeacher(), ScriptedTeacher(fingerprint="other:1")
    stack = built(tmp_path, engine, second=other)
    assert stack.ahead is not None
    both = [request("a"), request("b", teacher="second")]
    stack.ahead.prefetch(both, lambda: None)
    assert not any(reply.cached for reply in stack.teacher.ask(both))
    assert [one.id for one in engine.asked] == ["a"]
    assert [one.id for one in other.asked] == ["b"]
    stack.close()
