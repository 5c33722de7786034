"""What an engine is is known before anything is written down under it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.doubles import ScriptedTeacher

from tutelage.errors import TeacherError
from tutelage.teacher.base import GenerateRequest, Sampling
from tutelage.teacher.stack import build_teacher

REQUEST = GenerateRequest("1", "p", Sampling())


class LateTeacher(ScriptedTeacher):
    """Knows its fingerprint once it is settled, from its memory where it has one."""

    def __init__(self, is_up: bool = True) -> None:
        super().__init__()
        self.is_up = is_up
        self.settled = 0
        self.notes: list[str] = []
        self.on_note: Any = None
        self._fingerprint = "late:?"

    def settle(self, memory: Any = None) -> None:
        if self.settled:
            return
        self.settled += 1
        known = memory.recall(["self", "other"]) if memory is not None else {}
        if not self.is_up and not known:
            raise TeacherError("who am I?")
        self._fingerprint = known.get("self", "late:found")
        if self.is_up and memory is not None:
            memory.remember({"self": "late:found"})
        if self.on_note is not None:
            self.on_note(f"I am {self._fingerprint}")


@pytest.mark.parametrize("cached", [False, True])
def test_an_engine_is_settled_before_it_is_recorded(tmp_path: Path, cached: bool):
    engine = LateTeacher()
    told: list[str] = []
    stack = build_teacher(
        engine, cache=tmp_path / "c.sqlite" if cached else None, record=tmp_path / "r.jsonl"
    )
    assert engine.settled == 0
    stack.begin(told.append)
    assert (engine.settled, told) == (1, ["I am late:found"])
    stack.teacher.ask([REQUEST])
    stack.close()
    header = json.loads((tmp_path / "r.jsonl").read_text().splitlines()[0])
    assert header["fingerprint"] == stack.teacher.fingerprint == "late:found"


def test_an_engine_that_is_gone_is_remembered_by_the_cache(tmp_path: Path):
    first = build_teacher(LateTeacher(), cache=tmp_path / "c.sqlite")
    (reply,) = first.teacher.ask([REQUEST])
    first.close()
    second = build_teacher(LateTeacher(is_up=False), cache=tmp_path / "c.sqlite")
    second.begin(lambda note: None)
    (again,) = second.teacher.ask([REQUEST])
    assert (again.text, again.cached, reply.cached) == (reply.text, True, False)
    second.close()
    with pytest.raises(TeacherError, match="who am I"):
        build_teacher(LateTeacher(is_up=False)).begin(lambda note: None)


def test_an_engine_that_always_knows_itself_has_nothing_to_begin(tmp_path: Path):
    stack = build_teacher(ScriptedTeacher(), cache=tmp_path / "c.sqlite")
    stack.begin(lambda note: None)
    assert stack.teacher.fingerprint == "scripted:1"
    stack.close()


def test_a_memory_keeps_any_text_apart_from_the_replies(tmp_path: Path):
    class Rememberer(LateTeacher):
        found: Mapping[str, str] = {}

        def settle(self, memory: Any = None) -> None:
            names: Sequence[str] = ("a", "\ud83d", "missing")
            memory.remember({"a": '{"x": "\ud83d\n"}', "\ud83d": ""})
            self.found = memory.recall(names)

    engine = Rememberer()
    stack = build_teacher(engine, cache=tmp_path / "c.sqlite")
    stack.begin(lambda note: None)
    assert engine.found == {"a": '{"x": "\ud83d\n"}', "\ud83d": ""}
    assert not stack.teacher.ask([REQUEST])[0].cached
    stack.close()
